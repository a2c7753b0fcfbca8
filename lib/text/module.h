// SPDX-License-Identifier: MIT
// What libmoshi-text.so gives the core: sentencepiece behind a C table. It is a library of its own because
// libsentencepiece exports FLAGS_minloglevel (a 32-byte object), which LibTorch's libc10 exports too (an int): where
// both are in one lookup scope, one writes over the other's memory. The core opens this library in a scope of its own.
#pragma once

#include <stddef.h>
#include <stdint.h>

extern "C" {

/// Changes with every change of the table.
#define MOSHI_TEXT_ABI 2u
#define MOSHI_TEXT_GET_API_SYMBOL "moshi_text_get_api"

typedef struct MoshiTextModel MoshiTextModel;

/// Nothing throws. A model is read from any number of threads at once.
typedef struct MoshiTextApi {
  uint32_t abi;  ///< MOSHI_TEXT_ABI
  /// `bytes` are a model file's, and may go after the call. Null: `error` says why, NUL-terminated.
  MoshiTextModel* (*open)(const void* bytes, size_t size, char* error, size_t error_size);
  void (*close)(MoshiTextModel* model);
  int32_t (*size)(const MoshiTextModel* model);  ///< pieces
  int32_t (*eos)(const MoshiTextModel* model);   ///< -1: none
  /// The UTF-8 of piece `id`, from 0 to size() - 1, for as long as the model is open. `byte`: the value of a byte
  /// piece, -1 for every other one.
  const char* (*piece)(const MoshiTextModel* model, int32_t id, size_t* length, int32_t* byte);
} MoshiTextApi;

typedef const MoshiTextApi* (*MoshiTextGetApi)(uint32_t abi);  ///< null: another ABI
}
