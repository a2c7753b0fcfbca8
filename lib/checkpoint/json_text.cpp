// SPDX-License-Identifier: MIT
#include "checkpoint/json_text.h"

#include <nlohmann/json.hpp>

#include "checkpoint/mapped_file.h"
#include "common/error.h"

namespace moshi::checkpoint {

nlohmann::json parse_json_object(std::string_view text, const std::string& origin, int max_depth) {
  using nlohmann::json;
  bool too_deep = false;
  const auto check_depth = [&](int depth, json::parse_event_t, json&) {
    // A false return only drops the value from the result, so that a deep text costs no memory.
    too_deep = too_deep || depth > max_depth;
    return !too_deep;
  };
  json parsed;
  try {
    parsed = json::parse(text, check_depth);
  } catch (const json::exception& e) {
    throw Error(MOSHI_ERR_FORMAT, "\"" + origin + "\" is not valid JSON", e.what());
  }
  if (too_deep) {
    throw Error(MOSHI_ERR_FORMAT,
                "\"" + origin + "\" is nested deeper than " + std::to_string(max_depth) + " levels of JSON");
  }
  if (!parsed.is_object()) throw Error(MOSHI_ERR_FORMAT, "\"" + origin + "\" must hold a JSON object");
  return parsed;
}

std::string read_text_file(const std::string& path, size_t max_bytes) {
  const MappedFile file(path, MappedFile::Mode::kRead);
  if (file.bytes() > max_bytes) {
    throw Error(MOSHI_ERR_FORMAT, "\"" + path + "\" has " + std::to_string(file.bytes()) + " bytes; at most " +
                                      std::to_string(max_bytes) + " are expected of a text file");
  }
  std::string text(file.bytes(), '\0');
  file.read(0, std::as_writable_bytes(std::span(text)));
  return text;
}

}  // namespace moshi::checkpoint
