// SPDX-License-Identifier: MIT
// What one conversation is asked for: the server's defaults, changed by the query of its address.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace server {

/// The models, the same for all conversations. Empty: unset.
struct Model {
  std::string model, mimi_weights;
  /// Properties of `moshilm` by name: weights, tokenizer, config, lora, precision, cfg-coef. `device` and `threads` are
  /// set on the codec as well.
  std::map<std::string, std::string> settings;
  std::map<std::string, std::string> conditions;
};

enum class Encoding { kOpus, kPcm };

/// Sampling that is not set is the model's own.
struct Sampling {
  std::optional<double> temperature, text_temperature;
  std::optional<int> top_k, text_top_k;
  std::optional<int64_t> seed;
};

struct Settings {
  Sampling sampling;
  bool audio = true, text = true;  ///< What is sent; never both false.
  Encoding encoding = Encoding::kOpus;
  bool metadata = false, stats = false;
  bool queue = true;  ///< It is told its place. The reference's page, which only sends sampling, complains of that.
  std::optional<uint64_t> most_steps;
  std::vector<std::string> ignored;  ///< Parameters that were given, would change something, and cannot.
};

using Query = std::map<std::string, std::string>;

/// Reads docs/protocol.md, "Query". On a value that cannot be: nothing, and `problem` is a sentence that names it.
std::optional<Settings> parse_query(const Query& query, const Sampling& defaults, std::string* problem);

}  // namespace server
