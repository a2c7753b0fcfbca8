// SPDX-License-Identifier: MIT
// Test pads around an element that has threads of its own.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <vector>

#include "support.h"

namespace check {

/** A sink pad that keeps what comes, in its order. */
class Recorder {
 public:
  struct Item {
    Buffer buffer;  ///< null: an event
    Event event;
    bool Is(GstEventType type) const { return event != nullptr && GST_EVENT_TYPE(event.get()) == type; }
  };

  /** Linked to the element's pad of this name. `caps`: what it takes; null: anything. */
  Recorder(GstElement* element, const char* pad, const char* caps = nullptr);
  ~Recorder();
  Recorder(const Recorder&) = delete;
  Recorder& operator=(const Recorder&) = delete;

  /** What buffers are answered with from now on. */
  void Answer(GstFlowReturn flow);
  /** While it is held, it takes one thing and then blocks. */
  void Hold(bool hold);
  GstPad* pad() const { return pad_.get(); }

  /** Wait for it; the test's time-out is the limit. */
  void WaitBuffers(size_t count);
  void WaitEvent(GstEventType type);
  void Wait(const std::function<bool(const std::vector<Item>&)>& enough);
  /** Looks at what has come. */
  void Look(const std::function<void(const std::vector<Item>&)>& look);
  void Forget();

  std::vector<Buffer> Buffers();
  /** GAP events: their times. */
  std::vector<GstClockTime> Gaps();
  size_t Count(GstEventType type);
  Caps CurrentCaps() const { return Caps(gst_pad_get_current_caps(pad_.get())); }
  /** All bytes of the buffers. */
  std::string Text();

 private:
  static GstFlowReturn Chain(GstPad* pad, GstObject*, GstBuffer* buffer);
  static gboolean OnEvent(GstPad* pad, GstObject*, GstEvent* event);
  void Keep(Item item);

  Pad pad_;
  Pad peer_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Item> items_;
  GstFlowReturn answer_ = GST_FLOW_OK;
  bool hold_ = false, flushing_ = false;
};

/** A playing moshilm between an upstream of the test's and two recorders. */
struct LmRig {
  struct Options {
    std::string properties = {};
    std::string caps = CodesCaps(8);
    const char* audio_caps = nullptr;
    const char* text_caps = nullptr;
    bool live = false;
    bool link_text = true;
    /** Above 0: the pipeline's latency, and a clock that the test sets. */
    GstClockTime latency = 0;
  };
  explicit LmRig(const Options& options);
  explicit LmRig(const char* properties = "") : LmRig(Options{.properties = properties}) {}
  ~LmRig();
  LmRig(const LmRig&) = delete;
  LmRig& operator=(const LmRig&) = delete;

  GstElement* lm() const { return element.get(); }
  bool Send(GstEvent* event) { return gst_pad_push_event(source.get(), event); }
  bool SendSegment(GstClockTime start = 0);
  bool SendCaps(const std::string& caps);
  GstFlowReturn Push(Buffer buffer) { return gst_pad_push(source.get(), buffer.release()); }
  /** One buffer for each frame, one after another. */
  void PushAll(const Codes& codes, int codebooks = 8, GstClockTime from = 0);
  void Flush();
  /** EOS, and waits until it has come out. */
  void Finish();
  int64_t Stat(const char* name) const;

  Bus bus;
  Element element;
  Pad source;
  std::unique_ptr<Recorder> audio, text;
  bool live;
  GstClock* clock = nullptr;
};

/** What the fake's model says: 1 + own tokens a frame for these frames, as the element should give them. */
struct Said {
  std::vector<int32_t> text;
  Codes codes;
};
/** `codes`: user codes of `shape.user` codebooks; -1 frames are given as silence by the caller. `lag` frames come
 *  from silence behind the end. `seed` 0: greedy. */
Said Answer(const Codes& codes, const moshi_fake::LmShape& shape = {}, uint64_t seed = 0);
/** The pieces of tokens, joined. */
std::string TextOf(const std::vector<int32_t>& tokens);
/** Some frames of the silence that the model knows. */
Codes SilentCodes(int frames, int codebooks = 8);

/** Number of a structure's field, whatever integer it is. */
int64_t FieldOf(const GstStructure* structure, const char* name);

}  // namespace check
