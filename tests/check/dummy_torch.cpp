// SPDX-License-Identifier: MIT
// Stands for a LibTorch: a shared object of that name, and nothing more.
extern "C" int dummy_torch() { return 0; }
