// SPDX-License-Identifier: MIT
// An element's reference to a model: opening, loading in the background, waiting for it.
#pragma once

#include <gst/gst.h>

#include <condition_variable>
#include <mutex>
#include <string>

#include "model_facts.h"
#include "model_settings.h"
#include "moshi/core.h"

namespace gstmoshi {

/** Why the streaming thread must not wait. The two come and go independently of each other. */
enum Interruption : unsigned {
  kFlushing = 1,  ///< between FLUSH_START and FLUSH_STOP
  kStopping = 2   ///< below PAUSED, or on the way there
};

/**
 * Thread rules: Open, Close and ReopenIfChanged are for state changes. WaitLoaded is for the streaming thread and ends
 * at once when any other thread calls Interrupt. All else is for any thread. Messages are posted without any lock.
 */
class Model {
 public:
  /** Told on the loading thread when the model is ready for use. */
  using LoadedFn = void (*)(GstElement* element);

  /** `element` owns this and outlives it. */
  Model(GstElement* element, MoshiRole role, LoadedFn loaded) : element_(element), role_(role), loaded_(loaded) {}
  ~Model() { Close(); }
  Model(const Model&) = delete;
  Model& operator=(const Model&) = delete;

  ModelSettings& settings() { return settings_; }

  /**
   * Reads the model's headers and starts loading it. Posts the error and returns false if that fails. A hub model that
   * is not on this machine is fetched first, in the background: its facts are known once that is done.
   */
  bool Open();
  /** Cancels a load or fetch that is under way. Sessions must be closed before. */
  void Close();
  /** Opens again if the choice of the model has changed since, or if the load failed. */
  bool ReopenIfChanged();

  /** Ends WaitLoaded with FLUSHING, now and until Resume for the same reason. */
  void Interrupt(Interruption reason);
  void Resume(Interruption reason);

  /** GST_FLOW_OK once the model is loaded; the load's error has been posted when it returns GST_FLOW_ERROR. */
  GstFlowReturn WaitLoaded();
  /** True while there is hope that the model will be loaded but it is not yet. */
  bool loading();

  ModelFacts facts();
  /** The value of the property `model-info`. */
  GstStructure* Info();
  /** Time that computing `frames` frames adds to the latency: the property, or the measurement. */
  GstClockTime ProcessingLatency(gint frames);

  /** The properties that chose the model, for the debug text of errors. */
  std::string Context() const;

  const MoshiCoreApi* api() const { return api_; }
  MoshiEngine* engine() const { return engine_; }

 private:
  enum class Phase { kClosed, kLoading, kLoaded, kFailed };

  static void OnProgress(void* self, double fraction, const char* stage);
  static int32_t OnFetch(void* self, const char* file, uint64_t done, uint64_t total);
  void PostProgress(GstProgressType type, const std::string& text, gint percent);
  void SetAnnounced(bool announced);
  static gpointer Watch(gpointer self);
  MoshiEngineConfig Config();
  MoshiStatus OpenEngine(MoshiError& error);
  MoshiStatus FetchAndOpen(MoshiError& error);
  void EndLoad(MoshiStatus status, MoshiError error);
  bool ReadFacts(MoshiError& error);
  void SetPhase(Phase phase);

  GstElement* const element_;
  const MoshiRole role_;
  const LoadedFn loaded_;
  ModelSettings settings_;

  const MoshiCoreApi* api_ = nullptr;
  MoshiEngine* engine_ = nullptr;  ///< set before phase kLoaded; while a fetch is under way, guarded by the mutex
  ModelChoice opened_;
  GThread* watcher_ = nullptr;  ///< fetches if need be, and waits for the load to end

  std::mutex mutex_;  ///< guards what follows; nothing is posted or called while it is held
  std::condition_variable changed_;
  Phase phase_ = Phase::kClosed;
  bool cancelled_ = false;    ///< what is under way is not wanted any more
  unsigned interrupted_ = 0;  ///< Interruption bits
  bool announced_ = false;    ///< between START and its end: CONTINUE may be posted
  gint percent_ = 0;          ///< last progress that was posted
  gint64 fetch_told_ = 0;     ///< when the last progress of a fetch was posted, us
  ModelFacts facts_;
};

}  // namespace gstmoshi
