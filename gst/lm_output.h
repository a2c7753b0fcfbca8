// SPDX-License-Identifier: MIT
// What moshilm sends: the model's frames as buffers and gaps on two pads.
#pragma once

#include <gst/gst.h>

#include <cstdint>
#include <optional>
#include <span>

#include "caps.h"
#include "model.h"
#include "source_pad.h"
#include "text_output.h"

namespace gstmoshi {

/** Name of the meta on text buffers with the extra heads' probabilities, and of its structure. */
constexpr char kExtraHeadsMeta[] = "GstMoshiExtraHeadsMeta";
void RegisterExtraHeadsMeta();

// Templates of `text_src`.
#define MOSHI_CAPS_TEXT "text/x-raw, format = (string) utf8"
#define MOSHI_CAPS_TOKENS "application/x-moshi-tokens"

/**
 * For the conversation's thread, and for others while it rests. The model is loaded before any of it. Methods return
 * GST_FLOW_FLUSHING when a pad is flushing; what downstream says comes to the pads' own tasks.
 */
class LmOutput {
 public:
  LmOutput(GstElement* element, Model& model, SourcePad& audio, SourcePad& text)
      : element_(element), model_(model), audio_(audio), text_(text) {}

  /** A new stream, as upstream begins one. */
  void StartStream(GstEvent* stream_start);
  bool stream_started() const { return started_; }
  /** What upstream sends from now on. */
  void SetInput(const CodesFormat& format);
  /** Any other serialized event. */
  GstFlowReturn Forward(EventPtr event);

  /** One frame: the text token, then the own codes. `heads`: the extra heads' probabilities, one head after another. */
  GstFlowReturn SendFrame(GstClockTime pts, GstClockTime duration, std::span<const int32_t> tokens,
                          std::span<const float> heads);
  GstFlowReturn SendGap(GstClockTime pts, GstClockTime duration);
  /** The next buffers do not follow what was before. */
  void MarkDiscont() { audio_discont_ = text_discont_ = true; }

  /** After a flush: text that was begun is not gone on with. */
  void Flush();
  void Forget();

  guint64 frames() const { return frames_; }

 private:
  bool Negotiate();
  bool NegotiateAudio();
  bool NegotiateText();
  GstFlowReturn SendAudio(GstClockTime pts, GstClockTime duration, std::span<const int32_t> codes);
  GstFlowReturn SendText(GstClockTime pts, GstClockTime duration, int32_t token, GstStructure* heads);
  GstFlowReturn SendTo(SourcePad& pad, BufferPtr buffer, GstClockTime pts, GstClockTime duration, bool& discont);
  BufferPtr TextBuffer(int32_t token);
  void StartPad(SourcePad& pad, GstEvent* stream_start, const char* name, GstStreamFlags flags);

  GstElement* const element_;
  Model& model_;
  SourcePad& audio_;
  SourcePad& text_;

  bool started_ = false;
  std::optional<CodesFormat> input_;   ///< what upstream sends
  std::optional<CodesFormat> output_;  ///< the negotiated caps
  enum class TextFormat { kNone, kText, kTokens } text_format_ = TextFormat::kNone;
  TextJoiner joiner_;
  bool audio_discont_ = true, text_discont_ = true;
  std::atomic<guint64> frames_{0};
};

}  // namespace gstmoshi
