// SPDX-License-Identifier: MIT
// libmoshi-text.so: libsentencepiece behind the table of module.h.
#include <sentencepiece_processor.h>

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <memory>
#include <string>

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

MoshiTextModel* refuse(const std::string& why, char* error, size_t error_size) {
  std::snprintf(error, error_size, "%s", why.c_str());
  return nullptr;
}

MoshiTextModel* open(const void* bytes, size_t size, char* error, size_t error_size) try {
  if (sentencepiece::logging::SetMinLogLevel != nullptr) sentencepiece::logging::SetMinLogLevel(kOnlyFatal);
  auto model = std::make_unique<MoshiTextModel>();
  const auto status = model->processor.LoadFromSerializedProto({static_cast<const char*>(bytes), size});
  if (status.ok()) return model.release();
  return refuse(status.ToString(), error, error_size);
} catch (const std::exception& e) {
  return refuse(e.what(), error, error_size);
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

}  // namespace

extern "C" __attribute__((visibility("default"))) const MoshiTextApi* moshi_text_get_api(uint32_t abi) {
  static const MoshiTextApi api = {MOSHI_TEXT_ABI, open, close, size, eos, piece};
  return abi == MOSHI_TEXT_ABI ? &api : nullptr;
}
