// SPDX-License-Identifier: MIT
#include "lm_api.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <string>
#include <string_view>

#include "fault.h"

namespace moshi_fake {
namespace {

constexpr uint64_t kLmBytes = uint64_t{600} << 20;

/** Pieces of all tokens, one after another, with the places where they begin. */
struct Pieces {
  std::string bytes;
  std::vector<size_t> begin{0};
  Pieces() {
    for (int32_t token = 0; token < kTextCardinality; ++token) {
      bytes += PieceOf(token);
      begin.push_back(bytes.size());
    }
  }
};

const Pieces& ThePieces() {
  static const Pieces pieces;
  return pieces;
}

bool InRange(double value, double least) { return value >= least && value < 1e15; }

}  // namespace

void ReadLmFacts(const MoshiEngineConfig& config, Facts& facts) {
  auto number = [](const char* name, int fallback) { return static_cast<int>(Knob(name, fallback)); };
  facts.lm = true;
  facts.shape = LmShape{.own = number("LM_OWN", 8),
                        .user = number("LM_USER", 8),
                        .cardinality = number("LM_CARDINALITY", kCardinality),
                        .max_delay = number("LM_DELAY", 1),
                        .extra_heads = number("LM_EXTRA_HEADS", 0),
                        .eos_after = number("LM_EOS_AFTER", 3)};
  facts.hibiki = Knob("LM_HIBIKI", 0) != 0;
  facts.tokenizer = config.tokenizer != nullptr || Knob("LM_NO_TOKENIZER", 0) == 0;
  facts.knows_silence = Knob("LM_NO_SILENCE", 0) == 0;
  for (int k = 0; k < facts.shape.user; ++k) facts.silence.push_back(SilenceCode(k));
  facts.delays.assign(1 + facts.shape.own + facts.shape.user, facts.shape.max_delay);
  facts.delays[0] = 0;
  facts.key += "\nlm";
}

MoshiStatus LmInfo(MoshiEngine* engine, MoshiLmInfo* info, MoshiError* error) {
  const Facts& facts = engine->model->facts();
  if (!facts.lm) return Fault(error, MOSHI_ERR_INVALID_ARGUMENT, "The engine has no language model.");
  if (info == nullptr || info->size < sizeof(MoshiLmInfo))
    return Fault(error, MOSHI_ERR_INVALID_ARGUMENT, "The struct to fill is missing or has no size.");
  const bool loaded = engine->model->Loaded();
  MoshiLmInfo value = Sized<MoshiLmInfo>();
  value.lm_file = facts.file.c_str();
  value.lm_sha256 = loaded ? facts.sha256.c_str() : "";
  value.lm_bytes = kLmBytes;
  value.tokenizer_file = facts.tokenizer ? "tokenizer.model" : "";
  value.text_eos = facts.tokenizer ? kTextEos : -1;
  value.lora_file = "";
  value.model_type = facts.hibiki ? "hibiki" : "moshi";
  value.own_streams = facts.shape.own;
  value.user_streams = facts.shape.user;
  value.cardinality = facts.shape.cardinality;
  value.text_cardinality = value.text_logits = kTextCardinality;
  value.text_padding = kTextPadding;
  value.text_end_padding = kTextEndPadding;
  value.delays = facts.delays.data();
  value.max_delay = facts.shape.max_delay;
  value.context = 3000;
  value.extra_heads = facts.shape.extra_heads;
  value.extra_head_width = facts.shape.extra_heads > 0 ? kExtraHeadWidth : 0;
  value.silence = loaded && facts.knows_silence ? facts.silence.data() : nullptr;
  value.processing_ns_step = loaded ? static_cast<int64_t>(Knob("PROCESSING_US", 5000) * 1000) : 0;
  value.temperature = static_cast<float>(Knob("LM_TEMPERATURE", 0.8));
  value.text_temperature = 0.7f;
  value.top_k = static_cast<int32_t>(Knob("LM_TOP_K", 250));
  value.text_top_k = 25;
  value.sampling = 1;
  value.cfg_coef = 1;
  value.mimi_sha256 = "";
  *info = value;
  return Fine(error);
}

MoshiStatus LmPiece(MoshiEngine* engine, int32_t token, MoshiPiece* piece, MoshiError* error) {
  const Facts& facts = engine->model->facts();
  if (!facts.lm || !facts.tokenizer) return Fault(error, MOSHI_ERR_NOT_SUPPORTED, "The model has no tokenizer.");
  if (piece == nullptr || token < 0 || token >= kTextCardinality)
    return Fault(error, MOSHI_ERR_INVALID_ARGUMENT, "There is no text token " + std::to_string(token) + ".");
  const Pieces& pieces = ThePieces();
  piece->size = sizeof *piece;
  piece->bytes = pieces.bytes.data() + pieces.begin[token];
  piece->count = pieces.begin[token + 1] - pieces.begin[token];
  piece->kind = piece->count == 0 ? MOSHI_PIECE_NONE : token < kFirstWord ? MOSHI_PIECE_BYTE : MOSHI_PIECE_TEXT;
  return Fine(error);
}

int64_t DrawSeed(int64_t wanted) {
  static std::atomic<int64_t> next{1000};
  return wanted >= 0 ? wanted : next++;
}

MoshiStatus SessionSeed(MoshiSession* session, int64_t* seed, MoshiError* error) {
  if (seed == nullptr) return Fault(error, MOSHI_ERR_INVALID_ARGUMENT, "session_seed() needs a place for it.");
  *seed = session->seed;
  return Fine(error);
}

MoshiStatus LmSet(MoshiSession* session, const char* name, double value, MoshiError* error) {
  const std::string_view key = name;
  const bool known = key == "temperature" || key == "text-temperature" || key == "top-k" || key == "text-top-k" ||
                     key == "sampling" || key == "seed" || key == "cfg-coef" || key == "cfg-text" ||
                     key == "cfg-masked-until";
  if (!known) return Fault(error, MOSHI_ERR_NOT_SUPPORTED, "A session has no number " + std::string(key) + ".");
  if (!InRange(value, key == "seed" || key == "cfg-masked-until" ? -1 : 0))
    return Fault(error, MOSHI_ERR_INVALID_ARGUMENT, std::string(key) + " is out of range.");
  if (key == "cfg-coef") {
    if (session->lm.steps > 0 && (value == 1) != (session->cfg_coef == 1))
      return Fault(error, MOSHI_ERR_CONFLICT, "cfg-coef turns guidance on or off: reset the session first.");
    session->cfg_coef = value;
  }
  if (key == "sampling") session->sampling = value != 0;
  if (key == "seed") session->seed = DrawSeed(static_cast<int64_t>(value));
  NoteSetting(name, value);
  return Fine(error);
}

MoshiStatus LmSetConditions(MoshiSession* session, const MoshiCondition* conditions, size_t count, MoshiError* error) {
  if (session->lm.steps > 0)
    return Fault(error, MOSHI_ERR_CONFLICT, "The conversation has begun: reset the session first.");
  std::string text;
  for (size_t i = 0; i < count; ++i) {
    const MoshiCondition& condition = conditions[i];
    if (std::strcmp(condition.name, "unknown") == 0)
      return Fault(error, MOSHI_ERR_INVALID_ARGUMENT, "The model has no condition \"unknown\".");
    if (i > 0) text += ';';
    if (condition.negative != 0) text += '-';
    text += condition.name;
    if (condition.tensor != nullptr)
      text.append("[").append(std::to_string(condition.rows)).append("x").append(std::to_string(condition.columns)) +=
          ']';
    else
      text.append("=").append(condition.text != nullptr ? condition.text : "");
  }
  NoteConditions(text);
  return Fine(error);
}

const char* WrongWithStep(const MoshiSession* session, const MoshiJob* job) {
  if (!session->model->facts().lm) return "The session was not opened for this kind of job.";
  if (job->frames < 1) return "A job has at least one frame.";
  if (job->tokens_out == nullptr) return "tokens_out of the job is missing.";
  return nullptr;
}

MoshiStatus RunStep(const Facts& facts, MoshiSession* session, MoshiJob* job, MoshiError* error) {
  const LmShape& shape = facts.shape;
  const int64_t frame = job->frames_done;
  if (frame == 0 && (job->flags & MOSHI_JOB_RESET) != 0) {
    session->lm = LmState{};
    ++Count().lm_resets;
  }
  const int32_t* user = job->user_tokens != nullptr ? job->user_tokens + frame * shape.user : nullptr;
  for (int k = 0; user != nullptr && k < shape.user; ++k)
    if (user[k] < -1 || user[k] > shape.cardinality)
      return Fault(error, MOSHI_ERR_DATA, "User token " + std::to_string(user[k]) + " is out of range.");
  const int64_t step = session->lm.steps;
  const uint64_t seed = session->sampling ? static_cast<uint64_t>(session->seed) : 0;
  LmStep(shape, session->lm, seed, user, job->forced_text != nullptr ? job->forced_text[frame] : MOSHI_TOKEN_GENERATE,
         job->tokens_out + frame * (1 + shape.own));
  if (job->extra_heads_out != nullptr) {
    float* out = job->extra_heads_out + frame * shape.extra_heads * kExtraHeadWidth;
    for (int head = 0; head < shape.extra_heads; ++head)
      for (int i = 0; i < kExtraHeadWidth; ++i) *out++ = ExtraHead(step, head, i);
  }
  ++Count().steps;
  return MOSHI_OK;
}

}  // namespace moshi_fake
