// SPDX-License-Identifier: MIT
// An element's reference to a model: opening, loading in the background, waiting for it.
#pragma once

#include <gst/gst.h>

#include <condition_variable>
#include <mutex>
#include <string>

#include "model_settings.h"
#include "moshi/core.h"

namespace gstmoshi {

/** What is known of an opened model, copied so that it outlives the engine. */
struct ModelFacts {
  std::string model_path, mimi_file, sha256, device, kernels, core_version, backend_version;
  guint64 bytes = 0;
  gint rate = 0;           ///< Hz; 0: no model is open
  gint frame_samples = 0;  ///< samples per frame
  gint framerate_num = 0, framerate_den = 1;
  gint codebooks = 0;  ///< the most that the model has
  gint cardinality = 0;
  gint threads = 0;
  MoshiPrecision precision = MOSHI_PRECISION_AUTO;
  GstClockTime processing = 0;  ///< one frame in the element's direction; 0 until loaded

  bool open() const { return rate > 0; }
};

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

  /** Reads the model's headers and starts loading it. Posts the error and returns false if that fails. */
  bool Open();
  /** Cancels a load that is under way. Sessions must be closed before. */
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
  void PostProgress(GstProgressType type, const std::string& text, gint percent);
  void SetAnnounced(bool announced);
  static gpointer Watch(gpointer self);
  void EndLoad();
  void ReadFacts();
  void SetPhase(Phase phase);

  GstElement* const element_;
  const MoshiRole role_;
  const LoadedFn loaded_;
  ModelSettings settings_;

  const MoshiCoreApi* api_ = nullptr;
  MoshiEngine* engine_ = nullptr;
  ModelChoice opened_;
  GThread* watcher_ = nullptr;  ///< waits for the load to end

  std::mutex mutex_;  ///< guards what follows; nothing is posted or called while it is held
  std::condition_variable changed_;
  Phase phase_ = Phase::kClosed;
  unsigned interrupted_ = 0;  ///< Interruption bits
  bool announced_ = false;    ///< between START and its end: CONTINUE may be posted
  gint percent_ = 0;          ///< last progress that was posted
  ModelFacts facts_;
};

}  // namespace gstmoshi
