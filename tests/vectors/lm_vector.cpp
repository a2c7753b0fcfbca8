// SPDX-License-Identifier: MIT
#include "lm_vector.h"

#include <fstream>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "moshi/core.h"

namespace moshi_vectors {
namespace {

using nlohmann::json;

std::vector<int32_t> table(const json& in) {
  std::vector<int32_t> flat;
  for (const json& row : in) {
    for (const json& value : row) flat.push_back(value);
  }
  return flat;
}

LmLogits logits(const json& in) {
  return {in.at("greatest").get<std::vector<double>>(),
          in.at("values").get<std::vector<std::array<double, kLogits>>>()};
}

LmCondition condition(const json& in) {
  LmCondition c;
  c.name = in.at("name");
  c.negative = in.value("negative", false);
  if (in.contains("text")) c.text = in.at("text");
  if (!in.contains("tensor")) return c;
  c.rows = static_cast<int64_t>(in.at("tensor").size());
  for (const json& row : in.at("tensor")) {
    c.columns = static_cast<int64_t>(row.size());
    for (const json& value : row) c.tensor.push_back(static_cast<float>(value.get<int>()) / 64.0f);
  }
  c.mask = in.at("mask").get<std::vector<uint8_t>>();
  return c;
}

}  // namespace

LmVector load_lm_vector(const std::string& folder, const std::string& name) {
  std::ifstream file(folder + "/" + name + ".json");
  if (!file) throw std::runtime_error("cannot read " + folder + "/" + name + ".json");
  const json in = json::parse(file);
  if (in.at("format") != 1) throw std::runtime_error(name + ".json has a format that this test does not know");
  LmVector v;
  v.name = name;
  v.seed = in.at("model").at("seed");
  v.dtype = in.at("model").at("dtype");
  v.config = in.at("model").at("config").dump();
  v.model_sha256 = in.at("model").at("sha256");
  v.cfg_coef = in.at("cfg_coef");
  for (const json& item : in.at("conditions")) v.conditions.push_back(condition(item));
  v.steps = in.at("steps");
  v.user = table(in.at("user"));
  for (const json& token : in.at("forced_text")) {
    v.forced_text.push_back(token.is_null() ? MOSHI_TOKEN_GENERATE : token.get<int32_t>());
  }
  v.sampled = table(in.at("sampled"));
  v.text_logits = logits(in.at("text_logits"));
  v.audio_logits = logits(in.at("audio_logits"));
  for (const json& step : in.at("extra_heads")) {
    for (const json& value : step) v.extra_heads.push_back(value);
  }
  return v;
}

int logit_position(int step, int index, int count) { return (index * count / kLogits + 7 * step) % count; }
int audio_stream(int step, int own_streams) { return step % own_streams; }

}  // namespace moshi_vectors
