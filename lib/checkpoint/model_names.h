// SPDX-License-Identifier: MIT
// Names of files that config.json does not name, as the reference has them.
#pragma once

namespace moshi::checkpoint {

inline constexpr const char* kConfigName = "config.json";
inline constexpr const char* kMoshiName = "model.safetensors";
inline constexpr const char* kTokenizerName = "tokenizer_spm_32k_3.model";
/// The reference's default, and the name under which the same file is also published.
inline constexpr const char* kMimiNames[] = {"tokenizer-e351c8d8-checkpoint125.safetensors",
                                             "mimi-pytorch-e351c8d8@125.safetensors"};

}  // namespace moshi::checkpoint
