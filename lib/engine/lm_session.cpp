// SPDX-License-Identifier: MIT
#include "engine/lm_session.h"

#include <sys/random.h>

#include <cerrno>
#include <cmath>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "engine/errors.h"
#include "engine/executor.h"
#include "engine/model.h"

namespace moshi::engine {
namespace {

/// Seeds that are drawn are whole as a double, so that session_set() can repeat them.
constexpr int kSeedBits = 53;

int64_t draw_seed() {
  uint64_t bits = 0;
  ssize_t got = 0;
  do {
    got = getrandom(&bits, sizeof bits, 0);
  } while (got < 0 && errno == EINTR);
  if (got != sizeof bits) throw Error(MOSHI_ERR_INTERNAL, "the system gives no random numbers to draw a seed from");
  return static_cast<int64_t>(bits >> (64 - kSeedBits));
}

uint64_t seed_of(int64_t seed) {
  if (seed < -1) invalid("the seed is " + std::to_string(seed) + ": it is -1, which draws one, or at least 0");
  return static_cast<uint64_t>(seed < 0 ? draw_seed() : seed);
}

[[noreturn]] void out_of_range(std::string_view name, double value, const std::string& range) {
  invalid("session_set(\"" + std::string(name) + "\", " + std::to_string(value) + "): the value is " + range);
}

float number(std::string_view name, double value, double least) {
  if (!std::isfinite(value) || value < least || std::abs(value) > std::numeric_limits<float>::max()) {
    out_of_range(name, value, std::isinf(least) ? "a finite number" : "a finite number from 0 on");
  }
  return static_cast<float>(value);
}

int whole(std::string_view name, double value, int least) {
  constexpr int kMost = std::numeric_limits<int>::max();
  if (!(value >= least && value <= kMost) || value != std::floor(value)) {
    out_of_range(name, value, "a whole number from " + std::to_string(least) + " to " + std::to_string(kMost));
  }
  return static_cast<int>(value);
}

bool flag(std::string_view name, double value) {
  if (value != 0.0 && value != 1.0) out_of_range(name, value, "0 or 1");
  return value != 0.0;
}

int64_t seed_number(std::string_view name, double value) {
  constexpr double kMost = 9007199254740992.0;  // 2^53
  if (!(value >= -1 && value <= kMost) || value != std::floor(value)) {
    out_of_range(name, value, "-1, which draws one, or a whole number from 0 to 2^53");
  }
  return static_cast<int64_t>(value);
}

bool set_sampling(lm::Sampling& sampling, std::string_view name, double value) {
  if (name == "temperature") {
    sampling.temperature = number(name, value, 0.0);
  } else if (name == "text-temperature") {
    sampling.text_temperature = number(name, value, 0.0);
  } else if (name == "top-k") {
    sampling.top_k = whole(name, value, 0);
  } else if (name == "text-top-k") {
    sampling.text_top_k = whole(name, value, 0);
  } else if (name == "sampling") {
    sampling.sampling = flag(name, value);
  } else if (name == "seed") {
    sampling.seed = seed_of(seed_number(name, value));
  } else {
    return false;
  }
  return true;
}

bool set_guidance(lm::Guidance& guidance, std::string_view name, double value) {
  if (name == "cfg-coef") {
    guidance.coefficient = number(name, value, -std::numeric_limits<double>::infinity());
  } else if (name == "cfg-text") {
    guidance.text = flag(name, value);
  } else if (name == "cfg-masked-until") {
    guidance.masked_until = whole(name, value, -1);
  } else {
    return false;
  }
  return true;
}

[[noreturn]] void has_begun(const char* what) {
  throw Error(MOSHI_ERR_CONFLICT,
              std::string(what) + " cannot change after the first step of a conversation: reset the session first");
}

/// Gives an idle row its guidance; the memory of its second half is promised before it is taken.
void guide(Track& track, const lm::Guidance& guidance) {
  lm::Row& row = *track.row.lm();
  if (guidance.active() == row.guidance().active()) return row.set_guidance(guidance);
  if (row.steps() > 0) has_begun("guidance (cfg-coef other than 1)");
  Reservation memory;
  if (guidance.active()) {
    const lm::LanguageModel& model = *track.lane->language_model;
    memory = reserve_memory(model.row_bytes(true) - model.row_bytes(false) + track.condition_bytes,
                            "guidance (cfg-coef other than 1), which computes the session twice,");
  }
  row.set_guidance(guidance);
  track.guidance_memory = std::move(memory);
  track.guided_from = track.frames;
}

bool same(const lm::Guidance& a, const lm::Guidance& b) {
  return a.coefficient == b.coefficient && a.text == b.text && a.masked_until == b.masked_until;
}

lm::Condition copy_of(const MoshiCondition& from, size_t index) {
  const std::string which = "condition " + std::to_string(index);
  if (from.size < sizeof(MoshiCondition)) {
    invalid("MoshiCondition::size of " + which + " is " + std::to_string(from.size) + ", not at least " +
            std::to_string(sizeof(MoshiCondition)) + ": initialize it with MOSHI_INIT(MoshiCondition)");
  }
  if (!from.name || !*from.name) invalid(which + " has no name");
  lm::Condition to;
  to.name = from.name;
  const std::string named = "condition \"" + to.name + "\"";
  if (from.text && from.tensor) invalid(named + " has both a text and a tensor: it is one of them, or absent");
  to.negative = from.negative != 0;
  to.absent = !from.text && !from.tensor;
  if (from.text) to.text = from.text;
  if (!from.tensor) return to;
  constexpr int64_t kMost = int64_t{1} << 31;
  if (from.rows < 1 || from.columns < 1 || from.rows > kMost / from.columns) {
    invalid(named + " has " + std::to_string(from.rows) + " rows of " + std::to_string(from.columns) +
            " columns: a tensor has at least one of each, and less than 2^31 values");
  }
  to.rows = from.rows;
  to.columns = from.columns;
  to.tensor.assign(from.tensor, from.tensor + from.rows * from.columns);
  for (const float value : to.tensor) {
    if (!std::isfinite(value)) invalid(named + " holds a value that is not finite");
  }
  if (from.mask) to.mask.assign(from.mask, from.mask + from.rows);
  return to;
}

}  // namespace

void require_lm(const Session& session, const char* function) {
  if (!(session.roles & MOSHI_ROLE_LM)) {
    invalid(std::string(function) + ": the session has no language model; it was opened without MOSHI_ROLE_LM");
  }
}

LmSettings first_settings(const lm::Config& config, int64_t seed) {
  const lm::GenerationDefaults& wish = config.generation;
  LmSettings settings;
  settings.sampling = {wish.sampling, wish.temperature, wish.text_temperature,
                       wish.top_k,    wish.text_top_k,  seed_of(seed)};
  return settings;
}

const char* lm_numbers() {
  return "\"temperature\", \"text-temperature\", \"top-k\", \"text-top-k\", \"sampling\", \"seed\", \"cfg-coef\", "
         "\"cfg-text\", \"cfg-masked-until\"";
}

bool set_lm_number(Session& session, std::string_view name, double value) {
  Executor& executor = session.model->executor();
  LmSettings settings = executor.settings(session);
  const bool was_guided = settings.guidance.active();
  if (set_guidance(settings.guidance, name, value)) {
    if (executor.idle(session)) {
      guide(session.track(Work::kStep), settings.guidance);
    } else if (settings.guidance.active() != was_guided) {
      has_begun("guidance (cfg-coef other than 1)");
    }
  } else if (!set_sampling(settings.sampling, name, value)) {
    return false;
  }
  executor.set_settings(session, settings);
  return true;
}

int64_t session_seed(Session& session) {
  require_lm(session, "session_seed()");
  return static_cast<int64_t>(session.model->executor().settings(session).sampling.seed);
}

void set_session_conditions(Session& session, const MoshiCondition* conditions, size_t count) {
  require_lm(session, "session_set_conditions()");
  if (!conditions && count > 0) invalid("session_set_conditions(): `conditions` is NULL, but `count` is not 0");
  require_idle(session, "given conditions");
  std::vector<lm::Condition> copies;
  copies.reserve(count);
  for (size_t i = 0; i < count; ++i) copies.push_back(copy_of(conditions[i], i));
  Track& track = session.track(Work::kStep);
  lm::Row& row = *track.row.lm();
  if (row.steps() > 0) has_begun("conditions");
  const uint64_t bytes = track.lane->language_model->condition_bytes(copies);
  Reservation memory =
      reserve_memory(row.guidance().active() ? 2 * bytes : bytes, "the conditions of a language model session");
  row.set_conditions(copies);
  track.condition_memory = std::move(memory);
  track.condition_bytes = bytes;
}

void apply_settings(Session& session) noexcept {
  lm::Row& row = *session.track(Work::kStep).row.lm();
  row.set_sampling(session.settings.sampling);
  try {
    // Whether there is guidance was settled when it was set; what comes here is how strong it is.
    if (!same(session.settings.guidance, row.guidance())) row.set_guidance(session.settings.guidance);
  } catch (...) {
    session.settings.guidance = row.guidance();
  }
}

}  // namespace moshi::engine
