// SPDX-License-Identifier: MIT
// Where the sound comes from and where it goes, as GStreamer pipelines: microphone or file to packets of Opus, packets
// of Opus to the speaker or a file.
#pragma once

#include <gst/app/gstappsink.h>
#include <gst/app/gstappsrc.h>

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "../app.h"
#include "../wire/message.h"
#include "options.h"
#include "playout.h"

namespace client {

constexpr int kPacketSamples = 480;  ///< 20 ms

/// What is told from a pipeline's bus, on the default main context.
using Failed = std::function<void(const std::string& sentence)>;

/// Microphone or file, and the speaker: one pipeline, so that echo cancellation knows when what was played.
class Devices {
 public:
  /// `ready`: packets may be there, or the end. The playout is what the speaker plays; it outlives the devices. Null:
  /// an error that has been said.
  static std::unique_ptr<Devices> make(const Options& options, Playout* playout, std::function<void()> ready,
                                       Failed failed);
  ~Devices();
  Devices(const Devices&) = delete;
  Devices& operator=(const Devices&) = delete;

  void play();
  /// The next packet of kPacketSamples. From the microphone, at most the last second waits.
  std::optional<wire::Bytes> next();
  bool ended() const;
  /// Packets of the microphone that nobody took in time. Takes those that wait.
  uint64_t dropped();

 private:
  Devices(app::Pipeline pipeline, Playout* playout, std::function<void()> ready, Failed failed);
  void set_up(const Options& options);
  static void shorten(GstBin*, GstBin*, GstElement* element, gpointer);
  static GstFlowReturn on_packet(GstAppSink*, gpointer user);
  static void on_end(GstAppSink*, gpointer user);
  static void on_need(GstAppSrc* source, guint, gpointer user);
  static gboolean on_message(GstBus*, GstMessage* message, gpointer user);
  void wake();

  app::Pipeline pipeline_;
  app::Object<GstElement> packets_;
  Playout* playout_;
  const std::function<void()> ready_;
  const Failed failed_;
  guint watch_ = 0;
  std::atomic<uint64_t> arrived_ = 0;
  std::atomic<bool> woken_ = false;
  uint64_t taken_ = 0;
  uint64_t played_ = 0;  // samples; of the streaming thread
};

/// Packets of Opus to the playout or to a WAV file.
class Decoder {
 public:
  /// Null: an error that has been said.
  static std::unique_ptr<Decoder> make(const Options& options, Playout* playout, Failed failed);
  ~Decoder();
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;

  /// Before it, no file is made or replaced.
  void play();
  /// `samples` at 24 kHz.
  void push(wire::View packet, int samples);
  /// `done` when all is written or handed to the playout, after an error, or if nothing was to be played.
  void finish(std::function<void()> done);

 private:
  Decoder(app::Pipeline pipeline, Playout* playout, Failed failed);
  static GstFlowReturn on_sound(GstAppSink* sink, gpointer user);
  static gboolean on_message(GstBus*, GstMessage* message, gpointer user);

  app::Pipeline pipeline_;
  app::Object<GstElement> received_;
  Playout* playout_;
  const Failed failed_;
  std::function<void()> done_;
  bool playing_ = false, broken_ = false;
  guint watch_ = 0;
  uint64_t samples_ = 0;
};

}  // namespace client
