// SPDX-License-Identifier: MIT
// libFuzzer target: any text as a Mimi configuration. What parses must survive being written and parsed again, and
// must have a list of tensors.
#include <cstdint>
#include <cstdlib>

#include "common/error.h"
#include "mimi/weights.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    const moshi::mimi::Config config = moshi::mimi::parse_config(text, "fuzz");
    const std::string json = moshi::mimi::to_json(config);
    if (moshi::mimi::to_json(moshi::mimi::parse_config(json, "again")) != json) abort();
    int64_t elements = 0;
    for (const auto& tensor : moshi::mimi::expected_tensors(config)) elements += tensor.elements();
    if (elements <= 0) abort();
  } catch (const moshi::Error& e) {
    if (e.status() == MOSHI_ERR_INTERNAL) abort();
  }
  return 0;
}
