// SPDX-License-Identifier: MIT
#include "model_facts.h"

namespace gstmoshi {
namespace {

// Of a language model that comes without its Mimi.
constexpr gint kMimiRate = 24000, kMimiFrameSamples = 1920, kMimiFrames = 25, kMimiFramesPer = 2;

std::string OrEmpty(const char* text) { return text != nullptr ? text : ""; }

MoshiStatus ReadLm(const MoshiCoreApi& api, MoshiEngine* engine, ModelFacts& facts, MoshiError& error) {
  MoshiLmInfo info{};
  info.size = sizeof info;
  const MoshiStatus status = api.lm_info(engine, &info, &error);
  if (status != MOSHI_OK) return status;
  facts.processing = static_cast<GstClockTime>(MAX(info.processing_ns_step, 0));
  facts.cardinality = info.cardinality;
  facts.sha256 = OrEmpty(info.mimi_sha256);
  LmFacts& lm = facts.lm;
  lm.file = OrEmpty(info.lm_file);
  lm.sha256 = OrEmpty(info.lm_sha256);
  lm.tokenizer = OrEmpty(info.tokenizer_file);
  lm.lora = OrEmpty(info.lora_file);
  lm.type = OrEmpty(info.model_type);
  lm.bytes = info.lm_bytes;
  lm.own_streams = info.own_streams;
  lm.user_streams = info.user_streams;
  lm.cardinality = info.cardinality;
  lm.text_cardinality = info.text_cardinality;
  lm.text_eos = info.text_eos;
  lm.max_delay = info.max_delay;
  lm.context = info.context;
  lm.extra_heads = info.extra_heads;
  lm.extra_head_width = info.extra_head_width;
  lm.audio_delay_seconds = info.audio_delay_seconds;
  lm.silence_prefix_seconds = info.audio_silence_prefix_seconds;
  if (info.silence != nullptr)
    lm.silence.assign(info.silence, info.silence + info.user_streams);
  else
    lm.silence.assign(info.user_streams, MOSHI_TOKEN_ZERO);
  lm.temperature = info.temperature;
  lm.text_temperature = info.text_temperature;
  lm.top_k = info.top_k;
  lm.text_top_k = info.text_top_k;
  lm.sampling = info.sampling != 0;
  lm.cfg_coef = info.cfg_coef;
  return MOSHI_OK;
}

}  // namespace

ModelFacts ReadModelFacts(const MoshiCoreApi& api, MoshiEngine* engine, MoshiRole role, MoshiError& error) {
  MoshiEngineInfo info{};
  info.size = sizeof info;
  if (api.engine_info(engine, &info, &error) != MOSHI_OK) return {};
  const gint64 processing = role == MOSHI_ROLE_ENCODE ? info.processing_ns_encode : info.processing_ns_decode;
  ModelFacts facts{.model_path = OrEmpty(info.model_path),
                   .mimi_file = OrEmpty(info.mimi_file),
                   .sha256 = OrEmpty(info.mimi_sha256),
                   .device = OrEmpty(info.device),
                   .kernels = OrEmpty(info.kernels),
                   .core_version = OrEmpty(api.version),
                   .backend_version = OrEmpty(api.backend_version),
                   .bytes = info.mimi_bytes,
                   .rate = info.sample_rate,
                   .frame_samples = info.frame_samples,
                   .framerate_num = info.frame_rate_numerator,
                   .framerate_den = info.frame_rate_denominator,
                   .codebooks = info.codebooks,
                   .cardinality = info.cardinality,
                   .threads = info.threads,
                   .embedded = info.embedded != 0,
                   .precision = info.precision,
                   .processing = static_cast<GstClockTime>(MAX(processing, 0)),
                   .lm = {}};
  if (role != MOSHI_ROLE_LM) return facts;
  if (ReadLm(api, engine, facts, error) != MOSHI_OK) return {};
  if (facts.rate <= 0 || facts.framerate_num <= 0 || facts.framerate_den <= 0) {
    facts.rate = kMimiRate;
    facts.frame_samples = kMimiFrameSamples;
    facts.framerate_num = kMimiFrames;
    facts.framerate_den = kMimiFramesPer;
  }
  return facts;
}

GstStructure* MakeModelInfo(const ModelFacts& facts) {
  GstStructure* info = gst_structure_new_empty("application/x-moshi-model-info");
  if (!facts.open()) return info;
  gst_structure_set(info, "model-path", G_TYPE_STRING, facts.model_path.c_str(), "embedded", G_TYPE_BOOLEAN,
                    facts.embedded, "mimi-file", G_TYPE_STRING, facts.mimi_file.c_str(), "mimi-sha256", G_TYPE_STRING,
                    facts.sha256.c_str(), "mimi-bytes", G_TYPE_UINT64, facts.bytes, "sample-rate", G_TYPE_INT,
                    facts.rate, "frame-samples", G_TYPE_INT, facts.frame_samples, "framerate", GST_TYPE_FRACTION,
                    facts.framerate_num, facts.framerate_den, "codebooks", G_TYPE_INT, facts.codebooks, "cardinality",
                    G_TYPE_INT, facts.cardinality, "device", G_TYPE_STRING, facts.device.c_str(), "kernels",
                    G_TYPE_STRING, facts.kernels.c_str(), "threads", G_TYPE_INT, facts.threads, "processing-time",
                    G_TYPE_UINT64, facts.processing, "core-version", G_TYPE_STRING, facts.core_version.c_str(),
                    "backend-version", G_TYPE_STRING, facts.backend_version.c_str(), nullptr);
  const LmFacts& lm = facts.lm;
  if (lm.file.empty()) return info;
  gst_structure_set(info, "lm-file", G_TYPE_STRING, lm.file.c_str(), "lm-sha256", G_TYPE_STRING, lm.sha256.c_str(),
                    "lm-bytes", G_TYPE_UINT64, lm.bytes, "tokenizer-file", G_TYPE_STRING, lm.tokenizer.c_str(),
                    "lora-file", G_TYPE_STRING, lm.lora.c_str(), "model-type", G_TYPE_STRING, lm.type.c_str(),
                    "own-codebooks", G_TYPE_INT, lm.own_streams, "user-codebooks", G_TYPE_INT, lm.user_streams,
                    "text-cardinality", G_TYPE_INT, lm.text_cardinality, "max-delay", G_TYPE_INT, lm.max_delay,
                    "context", G_TYPE_INT, lm.context, "extra-heads", G_TYPE_INT, lm.extra_heads, "audio-delay",
                    G_TYPE_UINT64, static_cast<guint64>(lm.audio_delay_seconds * GST_SECOND), "silence-prefix",
                    G_TYPE_UINT64, static_cast<guint64>(lm.silence_prefix_seconds * GST_SECOND), nullptr);
  return info;
}

}  // namespace gstmoshi
