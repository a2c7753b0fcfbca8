// SPDX-License-Identifier: MIT
// JSON text from files that nobody vouches for: bounded in size and depth, errors with the origin and the place.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace moshi::checkpoint {

/// Parses `text`, which must be a JSON object nested at most `max_depth` deep. `origin` (a path) is named in errors.
/// Throws Error(FORMAT).
nlohmann::json parse_json_object(std::string_view text, const std::string& origin, int max_depth = 64);

/// The whole of a small text file. Throws Error: NOT_FOUND, READ, or FORMAT above `max_bytes`.
std::string read_text_file(const std::string& path, size_t max_bytes = size_t{16} << 20);

}  // namespace moshi::checkpoint
