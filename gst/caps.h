// SPDX-License-Identifier: MIT
// audio/x-mimi caps, and the small head that containers carry.
#pragma once

#include <gst/gst.h>

#include <optional>
#include <string>

#include "codes.h"
#include "glib_ptr.h"
#include "model.h"

namespace gstmoshi {

// Template caps. A model's facts narrow the ranges once its headers are read.
#define MOSHI_CAPS_MIMI(framed)                                            \
  "audio/x-mimi, rate = (int) [ 1, 384000 ], channels = (int) 1, "         \
  "framerate = (fraction) [ 1/10, 1000/1 ], codebooks = (int) [ 1, 32 ], " \
  "cardinality = (int) [ 2, 65536 ], stream-format = (string) { codes, packed }, framed = (boolean) " framed
#define MOSHI_CAPS_RAW                                                            \
  "audio/x-raw, format = (string) { F32LE, S16LE }, rate = (int) [ 1, 384000 ], " \
  "channels = (int) 1, layout = (string) interleaved"

constexpr int kDefaultCodebooks = 8;
constexpr int kMaxCodebooks = 32;

/** A stream of codes, as fixed caps describe it. */
struct CodesFormat {
  int rate = 24000;
  int framerate_num = 25, framerate_den = 2;
  int codebooks = kDefaultCodebooks;
  int cardinality = 2048;
  CodeLayout layout = CodeLayout::kCodes;
  bool framed = true;
  std::string model;  ///< hex SHA-256 of the weight file; empty: not said

  bool operator==(const CodesFormat&) const = default;
  int frame_samples() const { return static_cast<int>(static_cast<gint64>(rate) * framerate_den / framerate_num); }
  size_t frame_bytes() const { return FrameBytes(layout, codebooks, cardinality); }
  /** Time at which frame number `frame` begins. */
  GstClockTime FrameTime(guint64 frame) const;
  /** Bits per second that the codes carry, without the waste of 16-bit codes. */
  guint bitrate() const;
};

/** Reads caps; fields that are absent keep Mimi's values, but `codebooks` must be there. */
std::optional<CodesFormat> ParseCodesCaps(const GstCaps* caps);
/** Fixed caps of a framed stream, with the head in `streamheader` and `codec_data`. */
CapsPtr MakeCodesCaps(const CodesFormat& format);
/**
 * The head: 56 bytes, little-endian: "MimiHead", u8 version (1), u8 codebooks, u8 format (0 codes, 1 packed),
 * u8 zero, u32 rate, u16 and u16 frame rate, u32 cardinality, 32 bytes SHA-256 of the weight file (zeros: not said).
 */
BufferPtr MakeHead(const CodesFormat& format);

/** Codes that the model makes or takes: `codebooks` 0 leaves their number open. */
CapsPtr CodesCapsOf(const ModelFacts& facts, int codebooks);
/** Raw audio that the model makes or takes. */
CapsPtr RawCapsOf(const ModelFacts& facts);

/**
 * Chooses what to send on `srcpad`: `format` with the number of codebooks (if `codebooks` is 0: what downstream fixes,
 * else the nearest to 8) and the layout that downstream takes. False if it takes nothing of it.
 */
bool ChooseCodes(GstPad* srcpad, const ModelFacts& facts, int codebooks, CodesFormat& format);

/** Codec, bitrate and, where `encoder` is set, encoder tags of the stream. */
TagListPtr MakeTags(const CodesFormat& format, const char* encoder);

/** Whether upstream of `sinkpad` answers that it is live, or seekable in time. */
bool UpstreamIsLive(GstPad* sinkpad);
bool UpstreamIsSeekable(GstPad* sinkpad);

/** The frames to handle at once: the property if it is set, else up to 2 s of a stream that is seekable, else 1. */
int BatchFrames(int wanted, GstPad* sinkpad, const ModelFacts& facts);

}  // namespace gstmoshi
