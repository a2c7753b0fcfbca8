// SPDX-License-Identifier: MIT
#include "session_metadata.h"

#include <cmath>
#include <nlohmann/json.hpp>

namespace server {
namespace {

using Json = nlohmann::ordered_json;

int64_t milliseconds(double seconds) { return std::llround(seconds * 1000); }

std::string text_of(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

// Clients that know Kyutai's servers want each of these, as a string. What a build here does not have is empty.
Json build_info() {
  Json info;
  for (const char* name : {"build_timestamp", "build_date", "git_branch", "git_timestamp", "git_date", "git_hash"})
    info[name] = "";
  info["git_describe"] = "gst-moshi " PACKAGE_VERSION;
  for (const char* name : {"rustc_host_triple", "rustc_version", "cargo_target_triple"}) info[name] = "";
  return info;
}

const char* listening(const Settings& settings) {
  if (settings.audio && settings.text) return "both";
  return settings.audio ? "audio" : "text";
}

}  // namespace

std::string queue_metadata(int place, int length) {
  return text_of({{"queue", {{"place", place}, {"length", length}}}});
}

std::string begin_metadata(const ModelFacts& facts, const Settings& settings, int64_t seed, double max_lag_seconds) {
  const Sampling &wanted = settings.sampling, &own = facts.defaults;
  Json json;
  json["text_temperature"] = wanted.text_temperature.value_or(own.text_temperature.value_or(0));
  json["text_topk"] = wanted.text_top_k.value_or(own.text_top_k.value_or(0));
  json["audio_temperature"] = wanted.temperature.value_or(own.temperature.value_or(0));
  json["audio_topk"] = wanted.top_k.value_or(own.top_k.value_or(0));
  json["pad_mult"] = 0;
  json["repetition_penalty_context"] = 64;
  json["repetition_penalty"] = 1;
  json["lm_model_file"] = facts.lm_file;
  json["instance_name"] = "moshi-server";
  json["build_info"] = build_info();
  json["seed"] = seed;
  json["listen"] = listening(settings);
  json["audio"] = settings.encoding == Encoding::kOpus ? "opus" : "pcm";
  json["frame_samples"] = wire::kFrameSamples;
  json["sample_rate"] = wire::kSampleRate;
  json["max_lag_ms"] = milliseconds(max_lag_seconds);
  json["ignored"] = settings.ignored;
  return text_of(json);
}

std::string stats_metadata(const ConversationStats& stats, const Delays& delays, int sessions) {
  Json json;
  json["frames_in"] = stats.frames_in;
  json["frames_out"] = stats.frames_out;
  json["dropped_frames"] = stats.dropped_frames;
  json["dropped_samples"] = stats.dropped_samples;
  json["lag_ms"] = milliseconds(stats.lag_seconds);
  json["frame_delay_ms"] = {{"p50", milliseconds(delays.quantile(0.5))}, {"p99", milliseconds(delays.quantile(0.99))}};
  json["sessions"] = sessions;
  return text_of({{"stats", json}});
}

}  // namespace server
