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

}  // namespace

bool Model::Open() {
  Close();
  opened_ = settings_.choice();
  MoshiError error = EmptyError();
  api_ = LoadCore(error);
  if (api_ == nullptr) {
    PostCoreError(element_, error, Activity::kLoadCore, Context());
    return false;
  }
  MoshiEngineConfig config{};
  config.size = sizeof config;
  config.model = OrNull(opened_.model);
  config.weights = OrNull(opened_.weights);
  config.device = OrNull(opened_.device);
  config.precision = opened_.precision;
  config.roles = role_;
  config.threads = opened_.threads;
  config.progress = &Model::OnProgress;
  config.progress_user = this;
  SetPhase(Phase::kLoading);
  if (api_->engine_open(&config, &engine_, &error) != MOSHI_OK) {
    engine_ = nullptr;
    SetPhase(Phase::kClosed);
    PostCoreError(element_, error, Activity::kLoad, Context());
    return false;
  }
  ReadFacts();
  PostProgress(GST_PROGRESS_TYPE_START, "Loading " + facts().mimi_file, 0);
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

void Model::Close() {
  if (engine_ == nullptr) return;
  api_->engine_cancel(engine_);
  if (watcher_ != nullptr) g_thread_join(watcher_);
  watcher_ = nullptr;
  api_->engine_close(engine_);
  engine_ = nullptr;
  {
    std::lock_guard lock(mutex_);
    facts_ = ModelFacts{};
  }
  SetPhase(Phase::kClosed);
}

bool Model::ReopenIfChanged() {
  bool failed;
  {
    std::lock_guard lock(mutex_);
    failed = phase_ == Phase::kFailed;
  }
  return (engine_ != nullptr && !failed && opened_ == settings_.choice()) || Open();
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

GstStructure* Model::Info() {
  const ModelFacts facts = this->facts();
  GstStructure* info = gst_structure_new_empty("application/x-moshi-model-info");
  if (!facts.open()) return info;
  gst_structure_set(info, "model-path", G_TYPE_STRING, facts.model_path.c_str(), "mimi-file", G_TYPE_STRING,
                    facts.mimi_file.c_str(), "mimi-sha256", G_TYPE_STRING, facts.sha256.c_str(), "mimi-bytes",
                    G_TYPE_UINT64, facts.bytes, "sample-rate", G_TYPE_INT, facts.rate, "frame-samples", G_TYPE_INT,
                    facts.frame_samples, "framerate", GST_TYPE_FRACTION, facts.framerate_num, facts.framerate_den,
                    "codebooks", G_TYPE_INT, facts.codebooks, "cardinality", G_TYPE_INT, facts.cardinality, "device",
                    G_TYPE_STRING, facts.device.c_str(), "kernels", G_TYPE_STRING, facts.kernels.c_str(), "threads",
                    G_TYPE_INT, facts.threads, "processing-time", G_TYPE_UINT64, facts.processing, "core-version",
                    G_TYPE_STRING, facts.core_version.c_str(), "backend-version", G_TYPE_STRING,
                    facts.backend_version.c_str(), nullptr);
  return info;
}

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
  static_cast<Model*>(user)->EndLoad();
  return nullptr;
}

void Model::EndLoad() {
  MoshiError error = EmptyError();
  const MoshiStatus status = api_->engine_wait(engine_, MOSHI_FOREVER, &error);
  const std::string file = facts().mimi_file;
  if (status == MOSHI_OK) {
    ReadFacts();
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

void Model::ReadFacts() {
  MoshiEngineInfo info{};
  info.size = sizeof info;
  MoshiError error = EmptyError();
  if (api_->engine_info(engine_, &info, &error) != MOSHI_OK) {
    GST_WARNING_OBJECT(element_, "no information on the model: %s", error.message);
    return;
  }
  const gint64 processing = role_ == MOSHI_ROLE_ENCODE ? info.processing_ns_encode : info.processing_ns_decode;
  std::lock_guard lock(mutex_);
  facts_ = ModelFacts{.model_path = OrEmpty(info.model_path),
                      .mimi_file = OrEmpty(info.mimi_file),
                      .sha256 = OrEmpty(info.mimi_sha256),
                      .device = OrEmpty(info.device),
                      .kernels = OrEmpty(info.kernels),
                      .core_version = OrEmpty(api_->version),
                      .backend_version = OrEmpty(api_->backend_version),
                      .bytes = info.mimi_bytes,
                      .rate = info.sample_rate,
                      .frame_samples = info.frame_samples,
                      .framerate_num = info.frame_rate_numerator,
                      .framerate_den = info.frame_rate_denominator,
                      .codebooks = info.codebooks,
                      .cardinality = info.cardinality,
                      .threads = info.threads,
                      .precision = info.precision,
                      .processing = static_cast<GstClockTime>(MAX(processing, 0))};
}

void Model::SetPhase(Phase phase) {
  std::lock_guard lock(mutex_);
  phase_ = phase;
  changed_.notify_all();
}

}  // namespace gstmoshi
