// SPDX-License-Identifier: MIT
#include "generation.h"

#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "app.h"

namespace app {
namespace {

namespace mc = moshi::core;

bool fail(const MoshiError& error) {
  app::fail(error.message);
  if (g_getenv("GST_DEBUG") && *error.detail) fprintf(stderr, "%s\n", error.detail);
  return false;
}

const char* given(const std::string& text) { return text.empty() ? nullptr : text.c_str(); }

int32_t show_fetch(void*, const char* file, uint64_t done, uint64_t total) {
  if (total > 0 && isatty(STDERR_FILENO)) {
    fprintf(stderr, "\r%s: fetching %s, %.1f of %.1f MB\033[K%s", program, file, static_cast<double>(done) / 1e6,
            static_cast<double>(total) / 1e6, done == total ? "\n" : "");
  }
  return 1;
}

/// A session with the table that closes it.
class Session {
 public:
  explicit Session(const MoshiCoreApi* api) : api_(api) {}
  Session(Session&& other) noexcept : api_(other.api_), handle_(std::exchange(other.handle_, nullptr)) {}
  ~Session() {
    if (handle_) api_->session_close(handle_);
  }

  bool open(MoshiEngine* engine, uint32_t roles, int64_t seed) {
    MoshiError error = MOSHI_INIT(MoshiError);
    MoshiSessionConfig config = MOSHI_INIT(MoshiSessionConfig);
    config.roles = roles;
    config.work_class = MOSHI_CLASS_FILE;
    config.seed = seed;
    return api_->session_open(engine, &config, &handle_, &error) == MOSHI_OK || fail(error);
  }
  bool set(const char* name, double value) {
    MoshiError error = MOSHI_INIT(MoshiError);
    return api_->session_set(handle_, name, value, &error) == MOSHI_OK || fail(error);
  }
  bool submit(MoshiJob* job) {
    MoshiError error = MOSHI_INIT(MoshiError);
    return api_->submit(handle_, job, &error) == MOSHI_OK || fail(error);
  }
  bool wait(MoshiJob* job) {
    MoshiError error = MOSHI_INIT(MoshiError);
    return api_->wait(handle_, job, MOSHI_FOREVER, &error) == MOSHI_OK || fail(error);
  }
  bool run(MoshiJob* job) { return submit(job) && wait(job); }

  MoshiSession* handle() const { return handle_; }

 private:
  const MoshiCoreApi* api_;
  MoshiSession* handle_ = nullptr;
};

MoshiJob make_job(MoshiJobKind kind, size_t frames) {
  MoshiJob job = MOSHI_INIT(MoshiJob);
  job.kind = kind;
  job.frames = static_cast<int32_t>(frames);
  job.deadline_ns = MOSHI_NO_DEADLINE;
  return job;
}

/// The microphone's side: the recording's codes, frame after frame, then what the model wants to hear after its end.
class Listener {
 public:
  Listener(const MoshiCoreApi* api, const MoshiLmInfo& lm, const MoshiEngineInfo& mimi)
      : session_(api),
        width_(static_cast<size_t>(lm.user_streams)),
        frame_(static_cast<size_t>(mimi.frame_samples)),
        end_(lm.cardinality),
        ends_itself_(std::strcmp(lm.model_type, "hibiki") == 0) {}

  // A last frame that is not whole is left out.
  bool open(MoshiEngine* mimi, std::span<const float> pcm) {
    frames_ = pcm.size() / frame_;
    std::vector<uint16_t> codes(frames_ * width_);
    if (!session_.open(mimi, MOSHI_ROLE_ENCODE, -1)) return false;
    if (frames_ > 0 && !encode(pcm.first(frames_ * frame_), codes)) return false;
    codes_.assign(codes.begin(), codes.end());
    return true;
  }

  /// The next frame's codes; false: it is over, or has failed, which is then in `*failed`.
  bool next(std::vector<int32_t>* codes, bool* failed) {
    const size_t frame = at_++;
    codes->assign(width_, end_);
    if (frame < frames_) {
      std::copy_n(codes_.begin() + static_cast<ptrdiff_t>(frame * width_), width_, codes->begin());
      return true;
    }
    if (!ends_itself_) return false;
    if (frame == frames_) return true;  // the mark of the end
    const std::vector<float> silence(frame_);
    std::vector<uint16_t> heard(width_);
    *failed = !encode(silence, heard);
    std::copy(heard.begin(), heard.end(), codes->begin());
    return !*failed;
  }
  /// Frames since the recording's end, its mark included.
  size_t frames_after_end() const { return at_ > frames_ ? at_ - frames_ : 0; }

 private:
  bool encode(std::span<const float> pcm, std::span<uint16_t> codes) {
    MoshiJob job = make_job(MOSHI_JOB_ENCODE, pcm.size() / frame_);
    job.codebooks = static_cast<int32_t>(width_);
    job.pcm_in = pcm.data();
    job.codes_out = codes.data();
    return session_.run(&job);
  }

  Session session_;
  const size_t width_, frame_;
  const int32_t end_;
  const bool ends_itself_;
  size_t frames_ = 0, at_ = 0;
  std::vector<int32_t> codes_;
};

/// The batch: a session of the language model for each item, stepped together.
class Speakers {
 public:
  Speakers(const MoshiCoreApi* api, const MoshiLmInfo& info)
      : api_(api), info_(info), width_(1 + static_cast<size_t>(info.own_streams)) {}

  bool open(MoshiEngine* lm, const Settings& settings, size_t count) {
    items_.resize(count);
    jobs_.resize(count);
    tokens_.resize(count * width_);
    for (size_t i = 0; i < count; ++i) {
      Session session(api_);
      if (!session.open(lm, MOSHI_ROLE_LM, settings.seed < 0 ? -1 : settings.seed + static_cast<int64_t>(i)) ||
          !set_up(session, settings))
        return false;
      sessions_.push_back(std::move(session));
    }
    return true;
  }

  /// One step of all items that have not ended.
  bool step(std::span<const int32_t> heard) {
    ++steps_;
    bool good = true;
    size_t submitted = 0;
    for (; submitted < items_.size() && good; ++submitted) {
      if (items_[submitted].ended) continue;
      MoshiJob& job = jobs_[submitted] = make_job(MOSHI_JOB_STEP, 1);
      job.user_tokens = heard.data();
      job.tokens_out = tokens_.data() + submitted * width_;
      good = sessions_[submitted].submit(&job);
    }
    if (!good) --submitted;
    for (size_t i = 0; i < submitted; ++i) {
      if (!items_[i].ended && !sessions_[i].wait(&jobs_[i])) good = false;
    }
    return good;
  }

  /// Keeps what the last step said. `may_end`: the recording is over.
  void keep(bool may_end, const std::function<void(int32_t)>& said) {
    for (size_t i = 0; i < items_.size(); ++i) {
      Item& item = items_[i];
      const std::span<const int32_t> tokens(tokens_.data() + i * width_, width_);
      if (item.ended || tokens[0] == MOSHI_TOKEN_NONE) continue;
      if (info_.own_streams > 0 && info_.text_eos >= 0 && tokens[0] == info_.text_eos) {
        item.ended = may_end;
        if (!may_end) app::fail("item " + std::to_string(i) + " said its end before the recording's; it goes on");
      }
      item.text.push_back(tokens[0]);
      item.codes.insert(item.codes.end(), tokens.begin() + 1, tokens.end());
      if (i == 0) said(tokens[0]);
    }
  }

  bool all_ended() const {
    return std::all_of(items_.begin(), items_.end(), [](const Item& item) { return item.ended; });
  }
  int64_t steps() const { return steps_; }
  std::vector<Item> take() { return std::move(items_); }

 private:
  bool set_up(Session& session, const Settings& settings) {
    const auto or_own = [](double wish, double own) { return wish < 0 ? own : wish; };
    return session.set("sampling", settings.greedy ? 0 : info_.sampling) &&
           session.set("temperature", or_own(settings.temperature, info_.temperature)) &&
           session.set("text-temperature", or_own(settings.text_temperature, info_.text_temperature)) &&
           session.set("top-k", or_own(settings.top_k, info_.top_k)) &&
           session.set("text-top-k", or_own(settings.text_top_k, info_.text_top_k)) &&
           session.set("cfg-coef", settings.cfg_coef) && set_conditions(session, settings);
  }

  // What hibiki is told when nothing else was asked for: to be very good, and under guidance not very bad.
  bool set_conditions(Session& session, const Settings& settings) {
    const bool ours = settings.conditions.empty() && settings.negative_conditions.empty();
    auto positive = settings.conditions, negative = settings.negative_conditions;
    if (ours && std::strcmp(info_.model_type, "hibiki") == 0) {
      positive = {{"description", "very_good"}};
      if (settings.cfg_coef != 1) negative = {{"description", "very_bad"}};
    }
    std::vector<MoshiCondition> conditions;
    for (const auto* part : {&positive, &negative}) {
      for (const auto& [name, text] : *part) {
        MoshiCondition condition = MOSHI_INIT(MoshiCondition);
        condition.name = name.c_str();
        condition.text = text.c_str();
        condition.negative = part == &negative;
        conditions.push_back(condition);
      }
    }
    if (conditions.empty()) return true;
    MoshiError error = MOSHI_INIT(MoshiError);
    const MoshiStatus status =
        api_->session_set_conditions(session.handle(), conditions.data(), conditions.size(), &error);
    if (!ours || status != MOSHI_ERR_INVALID_ARGUMENT) return status == MOSHI_OK || fail(error);
    // There are such models without conditions, too.
    if (!std::exchange(told_, true))
      app::fail(std::string("warning: what Hibiki is usually told is left out: ") + error.message);
    return true;
  }

  const MoshiCoreApi* api_;
  const MoshiLmInfo& info_;
  const size_t width_;
  std::vector<Session> sessions_;
  std::vector<Item> items_;
  std::vector<MoshiJob> jobs_;
  std::vector<int32_t> tokens_;
  int64_t steps_ = 0;
  bool told_ = false;  // that the usual conditions are left out
};

// A model that turns speech to text wants silence around it: before, as it learned; behind, because its text comes
// later than the sound.
std::vector<float> padded(std::span<const float> pcm, const MoshiLmInfo& info, int rate) {
  std::vector<float> result(pcm.begin(), pcm.end());
  if (std::strcmp(info.model_type, "stt") != 0) return result;
  result.insert(result.begin(), static_cast<size_t>(info.audio_silence_prefix_seconds * rate), 0.0f);
  result.insert(result.end(), static_cast<size_t>((info.audio_delay_seconds + 1.0) * rate), 0.0f);
  return result;
}

}  // namespace

bool Models::open_engine(const MoshiEngineConfig& config, Engine* engine) {
  MoshiError error = MOSHI_INIT(MoshiError);
  MoshiEngine* opened = nullptr;
  if (api_->fetch(&config, show_fetch, nullptr, &error) || api_->engine_open(&config, &opened, &error))
    return fail(error);
  engine->reset(opened);
  return true;
}

std::optional<Models> Models::open(const Settings& settings) {
  auto core = mc::Core::load(settings.core);
  if (!core) {
    const std::string& detail = core.error().detail;
    return app::fail(core.error().message + (detail.empty() ? "" : " (" + detail + ")")), std::nullopt;
  }
  Models models(&core->api());
  MoshiError error = MOSHI_INIT(MoshiError);

  MoshiEngineConfig lm = MOSHI_INIT(MoshiEngineConfig);
  lm.model = settings.model.c_str();
  lm.precision = settings.precision;
  lm.threads = settings.threads;
  lm.roles = MOSHI_ROLE_LM;
  lm.lm_weights = given(settings.lm_weights);
  lm.tokenizer = given(settings.tokenizer);
  lm.config = given(settings.config);
  lm.lora = given(settings.lora);
  if (!models.open_engine(lm, &models.lm_)) return std::nullopt;
  if (models.api_->lm_info(models.lm_.get(), &models.lm_info_, &error)) return fail(error), std::nullopt;
  if (models.lm_info_.user_streams == 0)
    return app::fail("the model in " + std::string(models.lm_info_.lm_file) +
                     " does not listen: it has no user streams"),
           std::nullopt;

  MoshiEngineConfig mimi = MOSHI_INIT(MoshiEngineConfig);
  mimi.model = settings.mimi_model.empty() ? settings.model.c_str() : settings.mimi_model.c_str();
  mimi.weights = given(settings.mimi_weights);
  mimi.config = given(settings.config);
  mimi.threads = settings.threads;
  mimi.roles = MOSHI_ROLE_ENCODE | (models.lm_info_.own_streams > 0 ? MOSHI_ROLE_DECODE : 0);
  if (!models.open_engine(mimi, &models.mimi_)) return std::nullopt;
  for (MoshiEngine* engine : {models.mimi_.get(), models.lm_.get()}) {
    if (models.api_->engine_wait(engine, MOSHI_FOREVER, &error)) return fail(error), std::nullopt;
  }
  // Again: some facts are known only now.
  if (models.api_->lm_info(models.lm_.get(), &models.lm_info_, &error) ||
      models.api_->engine_info(models.mimi_.get(), &models.mimi_info_, &error))
    return fail(error), std::nullopt;
  return models;
}

std::string Models::piece(int32_t token) const {
  MoshiPiece piece = MOSHI_INIT(MoshiPiece);
  if (!has_tokenizer() || api_->lm_piece(lm_.get(), token, &piece, nullptr) != MOSHI_OK) return {};
  return piece.kind == MOSHI_PIECE_NONE ? std::string() : std::string(piece.bytes, piece.count);
}

bool Models::generate(const Settings& settings, std::span<const float> pcm, const std::function<void(int32_t)>& said,
                      std::vector<Item>* items, int64_t* steps) const {
  const auto input = padded(pcm, lm_info_, mimi_info_.sample_rate);
  const double frames_per_second =
      static_cast<double>(mimi_info_.frame_rate_numerator) / mimi_info_.frame_rate_denominator;
  Listener listener(api_, lm_info_, mimi_info_);
  Speakers speakers(api_, lm_info_);
  // Samples of one and the same text make no sense: a model without a voice is run once.
  const int count = lm_info_.own_streams > 0 ? settings.batch : 1;
  if (!listener.open(mimi_.get(), input) || !speakers.open(lm_.get(), settings, static_cast<size_t>(count)))
    return false;

  std::vector<int32_t> heard;
  bool failed = false, first = true;
  while (!speakers.all_ended() && listener.next(&heard, &failed)) {
    const size_t after_end = listener.frames_after_end();
    if (static_cast<double>(after_end) > settings.most_seconds_after_end * frames_per_second) {
      app::fail("the model has not ended by itself; stopped");
      break;
    }
    // The first step of a conversation hears nothing, so that the first frame is given twice.
    if (first && !speakers.step(heard)) return false;
    first = false;
    if (!speakers.step(heard)) return false;
    speakers.keep(after_end > 0, said);
  }
  *steps = speakers.steps();
  *items = speakers.take();
  return !failed;
}

std::optional<std::vector<float>> Models::decode(const Item& item) const {
  Session session(api_);
  std::vector<float> pcm(item.text.size() * static_cast<size_t>(mimi_info_.frame_samples));
  MoshiJob job = make_job(MOSHI_JOB_DECODE, item.text.size());
  job.codebooks = lm_info_.own_streams;
  job.codes_in = item.codes.data();
  job.pcm_out = pcm.data();
  if (!session.open(mimi_.get(), MOSHI_ROLE_DECODE, -1)) return std::nullopt;
  if (!pcm.empty() && !session.run(&job)) return std::nullopt;
  return pcm;
}

}  // namespace app
