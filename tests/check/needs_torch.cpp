// SPDX-License-Identifier: MIT
// Makes the fake core need the file named libtorch_cpu.so.
extern "C" int dummy_torch();
extern "C" int (*const moshi_needs_torch)();
extern "C" int (*const moshi_needs_torch)() = dummy_torch;
