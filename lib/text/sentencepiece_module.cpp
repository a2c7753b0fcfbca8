// SPDX-License-Identifier: MIT
// libmoshi-text.so: libsentencepiece behind the table of module.h.
#include <sentencepiece_processor.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <memory>
#include <string>
#include <vector>

#include "text/module.h"

// Exported, but in no installed header; weak, so that a version without it only says more.
namespace sentencepiece::logging {
__attribute__((weak)) void SetMinLogLevel(int level);
}

struct MoshiTextModel {
  sentencepiece::SentencePieceProcessor processor;
};

namespace {

constexpr int kOnlyFatal = 3;

void* refuse(const std::string& why, char* error, size_t error_size) {
  std::snprintf(error, error_size, "%s", why.c_str());
  return nullptr;
}

MoshiTextModel* open(const void* bytes, size_t size, char* error, size_t error_size) try {
  if (sentencepiece::logging::SetMinLogLevel != nullptr) sentencepiece::logging::SetMinLogLevel(kOnlyFatal);
  auto model = std::make_unique<MoshiTextModel>();
  const auto status = model->processor.LoadFromSerializedProto({static_cast<const char*>(bytes), size});
  if (status.ok()) return model.release();
  return static_cast<MoshiTextModel*>(refuse(status.ToString(), error, error_size));
} catch (const std::exception& e) {
  return static_cast<MoshiTextModel*>(refuse(e.what(), error, error_size));
}

void close(MoshiTextModel* model) { delete model; }

int32_t size(const MoshiTextModel* model) { return model->processor.GetPieceSize(); }

int32_t eos(const MoshiTextModel* model) { return model->processor.eos_id(); }

const char* piece(const MoshiTextModel* model, int32_t id, size_t* length, int32_t* byte) {
  const std::string& text = model->processor.IdToPiece(id);
  *length = text.size();
  // Opening has checked that a byte piece reads "<0xNN>".
  *byte = model->processor.IsByte(id) ? static_cast<int32_t>(std::strtol(text.c_str() + 3, nullptr, 16)) : -1;
  return text.data();
}

int32_t* encode(const MoshiTextModel* model, const char* text, size_t length, size_t* count, char* error,
                size_t error_size) try {
  std::vector<int> ids;
  const auto status = model->processor.Encode({text, length}, &ids);
  if (!status.ok()) return static_cast<int32_t*>(refuse(status.ToString(), error, error_size));
  auto result = std::make_unique<int32_t[]>(std::max<size_t>(ids.size(), 1));
  std::copy(ids.begin(), ids.end(), result.get());
  *count = ids.size();
  return result.release();
} catch (const std::exception& e) {
  return static_cast<int32_t*>(refuse(e.what(), error, error_size));
}

void release(int32_t* ids) { delete[] ids; }

}  // namespace

extern "C" __attribute__((visibility("default"))) const MoshiTextApi* moshi_text_get_api(uint32_t abi) {
  static const MoshiTextApi api = {MOSHI_TEXT_ABI, open, close, size, eos, piece, encode, release};
  return abi == MOSHI_TEXT_ABI ? &api : nullptr;
}
