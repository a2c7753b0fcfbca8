// SPDX-License-Identifier: MIT
#include "model.h"

#include "core_loader.h"
#include "errors.h"

#define GST_CAT_DEFAULT moshi_core_debug

namespace gstmoshi {
namespace {

constexpr char kProgressCode[] = "model-load";
constexpr gint kProgressStep = 5;  // percent between two CONTINUE messages

const char* OrNull(const std::string& text) { return text.empty() ? nullptr : text.c_str(); }
std::string OrEmpty(const char* text) { return text != nullptr ? text : ""; }

std::string NameOf(const ModelChoice& choice) {
  if (!choice.model.empty()) return choice.model;
  return choice.weights.empty() ? "the default model" : choice.weights;
}

}  // namespace

MoshiEngineConfig Model::Config() {
  MoshiEngineConfig config{};
  config.size = sizeof config;
  config.model = OrNull(opened_.model);
  config.device = OrNull(opened_.device);
  config.precision = opened_.precision;
  config.roles = role_;
  config.threads = opened_.threads;
  config.progress = &Model::OnProgress;
  config.progress_user = this;
  if (role_ != MOSHI_ROLE_LM) {
    config.weights = OrNull(opened_.weights);
    return config;
  }
  config.lm_weights = OrNull(opened_.weights);
  config.tokenizer = OrNull(opened_.tokenizer);
  config.config = OrNull(opened_.config);
  config.lora = OrNull(opened_.lora);
  config.lora_separate = opened_.lora_fuse ? 0 : 1;
  return config;
}

bool Model::Open() {
  Close();
  opened_ = settings_.choice();
  MoshiError error = EmptyError();
  api_ = LoadCore(error);
  if (api_ == nullptr) {
    PostCoreError(element_, error, Activity::kLoadCore, Context());
    return false;
  }
  SetPhase(Phase::kLoading);
  const MoshiStatus status = OpenEngine(error);
  if (status != MOSHI_OK && status != MOSHI_ERR_NOT_FETCHED) {
    SetPhase(Phase::kClosed);
    PostCoreError(element_, error, Activity::kLoad, Context());
    return false;
  }
  const bool fetch = status == MOSHI_ERR_NOT_FETCHED;
  if (fetch) {
    std::lock_guard lock(mutex_);
    facts_.fetching = true;
  }
  PostProgress(GST_PROGRESS_TYPE_START, fetch ? "Fetching " + NameOf(opened_) : "Loading " + facts().file(), 0);
  GError* failure = nullptr;
  watcher_ = g_thread_try_new("moshi-load", &Model::Watch, this, &failure);
  if (watcher_ != nullptr) return true;
  PostProgress(GST_PROGRESS_TYPE_ERROR, "No thread can be started", 0);
  GST_ELEMENT_ERROR(element_, RESOURCE, FAILED, ("No thread can be started to load the model. Close other programs."),
                    ("%s", failure->message));
  g_error_free(failure);
  Close();
  return false;
}

MoshiStatus Model::OpenEngine(MoshiError& error) {
  const MoshiEngineConfig config = Config();
  MoshiEngine* opened = nullptr;
  const MoshiStatus status = api_->engine_open(&config, &opened, &error);
  if (status != MOSHI_OK) return status;
  bool cancelled;
  {
    std::lock_guard lock(mutex_);
    engine_ = opened;
    cancelled = cancelled_;
  }
  if (cancelled) api_->engine_cancel(opened);
  MoshiError unknown = EmptyError();
  if (!ReadFacts(unknown)) GST_WARNING_OBJECT(element_, "no information on the model: %s", unknown.message);
  return MOSHI_OK;
}

MoshiStatus Model::FetchAndOpen(MoshiError& error) {
  const MoshiEngineConfig config = Config();
  const MoshiStatus status = api_->fetch(&config, &Model::OnFetch, this, &error);
  return status == MOSHI_OK ? OpenEngine(error) : status;
}

void Model::Close() {
  if (engine_ == nullptr && watcher_ == nullptr) return;
  MoshiEngine* opened;
  {
    std::lock_guard lock(mutex_);
    cancelled_ = true;
    opened = engine_;
  }
  if (opened != nullptr) api_->engine_cancel(opened);
  if (watcher_ != nullptr) g_thread_join(watcher_);
  watcher_ = nullptr;
  if (engine_ != nullptr) api_->engine_close(engine_);
  engine_ = nullptr;
  {
    std::lock_guard lock(mutex_);
    cancelled_ = false;
    facts_ = ModelFacts{};
  }
  SetPhase(Phase::kClosed);
}

bool Model::ReopenIfChanged() {
  bool usable;
  {
    std::lock_guard lock(mutex_);
    usable = phase_ == Phase::kLoading || phase_ == Phase::kLoaded;
  }
  return (usable && opened_ == settings_.choice()) || Open();
}

std::string Model::Context() const {
  auto or_unset = [](const std::string& text) { return text.empty() ? std::string("(unset)") : text; };
  return "properties: model=" + or_unset(opened_.model) + " weights=" + or_unset(opened_.weights) +
         " device=" + or_unset(opened_.device) + " threads=" + std::to_string(opened_.threads);
}

void Model::Interrupt(Interruption reason) {
  std::lock_guard lock(mutex_);
  interrupted_ |= reason;
  changed_.notify_all();
}

void Model::Resume(Interruption reason) {
  std::lock_guard lock(mutex_);
  interrupted_ &= ~reason;
}

GstFlowReturn Model::WaitLoaded() {
  std::unique_lock lock(mutex_);
  if (phase_ == Phase::kLoading && interrupted_ == 0) GST_DEBUG_OBJECT(element_, "waiting for the model");
  changed_.wait(lock, [this] { return interrupted_ != 0 || phase_ != Phase::kLoading; });
  if (interrupted_ != 0 || phase_ == Phase::kClosed) return GST_FLOW_FLUSHING;
  return phase_ == Phase::kLoaded ? GST_FLOW_OK : GST_FLOW_ERROR;
}

bool Model::loading() {
  std::lock_guard lock(mutex_);
  return phase_ == Phase::kLoading;
}

ModelFacts Model::facts() {
  std::lock_guard lock(mutex_);
  return facts_;
}

GstStructure* Model::Info() { return MakeModelInfo(facts()); }

GstClockTime Model::ProcessingLatency(gint frames) {
  const gint64 chosen = settings_.processing_latency();
  return chosen >= 0 ? static_cast<GstClockTime>(chosen) : facts().processing * frames;
}

void Model::OnProgress(void* user, double fraction, const char* stage) {
  auto* self = static_cast<Model*>(user);
  const gint percent = static_cast<gint>(CLAMP(fraction, 0.0, 1.0) * 100);
  {
    std::lock_guard lock(self->mutex_);
    // The end is COMPLETE's to tell.
    if (!self->announced_ || percent >= 100 || percent < self->percent_ + kProgressStep) return;
    self->percent_ = percent;
  }
  self->PostProgress(GST_PROGRESS_TYPE_CONTINUE, "Loading: " + OrEmpty(stage) + ", " + std::to_string(percent) + " %",
                     percent);
}

int32_t Model::OnFetch(void* user, const char* file, uint64_t done, uint64_t total) {
  constexpr gint64 kTellEvery = G_USEC_PER_SEC / 4;
  constexpr uint64_t kMegabyte = 1000000;
  auto* self = static_cast<Model*>(user);
  const gint64 now = g_get_monotonic_time();
  {
    std::lock_guard lock(self->mutex_);
    if (self->cancelled_) return 0;
    if (!self->announced_ || now < self->fetch_told_ + kTellEvery) return 1;
    self->fetch_told_ = now;
  }
  std::string text = "Fetching " + OrEmpty(file) + ": " + std::to_string(done / kMegabyte);
  if (total > 0) text += " of " + std::to_string(total / kMegabyte);
  const gint percent = total > 0 ? static_cast<gint>(MIN(done * 100 / total, 99)) : 0;
  self->PostProgress(GST_PROGRESS_TYPE_CONTINUE, text + " MB", percent);
  return 1;
}

void Model::PostProgress(GstProgressType type, const std::string& text, gint percent) {
  if (type != GST_PROGRESS_TYPE_START && type != GST_PROGRESS_TYPE_CONTINUE) SetAnnounced(false);
  GstMessage* message = gst_message_new_progress(GST_OBJECT(element_), type, kProgressCode, text.c_str());
  gst_structure_set(gst_message_writable_structure(message), "percent", G_TYPE_INT, percent, nullptr);
  gst_element_post_message(element_, message);
  if (type == GST_PROGRESS_TYPE_START) SetAnnounced(true);
}

void Model::SetAnnounced(bool announced) {
  std::lock_guard lock(mutex_);
  announced_ = announced;
  percent_ = 0;
}

gpointer Model::Watch(gpointer user) {
  auto* self = static_cast<Model*>(user);
  MoshiError error = EmptyError();
  MoshiStatus status = MOSHI_OK;
  if (self->engine_ == nullptr) status = self->FetchAndOpen(error);
  if (status == MOSHI_OK) status = self->api_->engine_wait(self->engine_, MOSHI_FOREVER, &error);
  self->EndLoad(status, error);
  return nullptr;
}

void Model::EndLoad(MoshiStatus status, MoshiError error) {
  const ModelFacts known = facts();
  const std::string file = known.open() ? known.file() : NameOf(opened_);
  if (status == MOSHI_OK && ReadFacts(error)) {
    SetPhase(Phase::kLoaded);
    loaded_(element_);
    PostProgress(GST_PROGRESS_TYPE_COMPLETE, "Loaded " + file, 100);
  } else if (status == MOSHI_ERR_CANCELLED) {
    SetPhase(Phase::kFailed);
    PostProgress(GST_PROGRESS_TYPE_CANCELED, "Canceled loading " + file, 0);
  } else {
    // The precise error comes before those that its consequences cause.
    PostCoreError(element_, error, Activity::kLoad, Context());
    PostProgress(GST_PROGRESS_TYPE_ERROR, error.message, 0);
    SetPhase(Phase::kFailed);
  }
}

bool Model::ReadFacts(MoshiError& error) {
  ModelFacts facts = ReadModelFacts(*api_, engine_, role_, error);
  const bool open = facts.open();
  std::lock_guard lock(mutex_);
  facts_ = std::move(facts);
  return open;
}

void Model::SetPhase(Phase phase) {
  std::lock_guard lock(mutex_);
  phase_ = phase;
  changed_.notify_all();
}

}  // namespace gstmoshi
