// SPDX-License-Identifier: MIT
// What all element tests share: buffers, harnesses and messages.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "fake_core.h"
#include "handles.h"

namespace check {

inline constexpr GstClockTime kFrame = 80 * GST_MSECOND;
inline constexpr char kF32[] = "audio/x-raw,format=F32LE,layout=interleaved,rate=24000,channels=1";
inline constexpr char kS16[] = "audio/x-raw,format=S16LE,layout=interleaved,rate=24000,channels=1";
/** Codes as on the wire; K is filled in by CodesCaps(). */
std::string CodesCaps(int codebooks, const char* format = "codes", bool framed = true);

/** A test case whose every test begins and ends with a fresh fake core, and fails on leaks. */
TCase* AddCase(Suite* suite, const char* name);

/** An element with these properties, as in a gst-launch line: New("mimienc", "codebooks=4"). */
Element New(const char* factory, const char* properties = "");
Element Launch(const std::string& line);
Bus BusOf(const Element& pipeline);

/**
 * A playing element between two test pads. The bus gets its messages. Upstream is not live, so that nothing is
 * dropped while the model loads.
 */
struct Rig {
  explicit Rig(const char* factory, const char* properties = "", const char* in_caps = nullptr,
               const char* out_caps = nullptr);
  explicit Rig(Element element, const char* in_caps = nullptr, const char* out_caps = nullptr);

  ~Rig() {
    harness.reset();
    // Messages hold their element, which holds the bus.
    gst_bus_set_flushing(bus.get(), TRUE);
  }
  Rig(const Rig&) = delete;
  Rig& operator=(const Rig&) = delete;

  GstElement* element() const { return harness->element; }
  GstFlowReturn Push(Buffer buffer) { return gst_harness_push(harness.get(), buffer.release()); }
  bool Send(GstEvent* event) { return gst_harness_push_event(harness.get(), event); }
  /** Segment in TIME from 0 or from `start`. */
  bool SendSegment(GstClockTime start = 0, GstClockTime stop = GST_CLOCK_TIME_NONE, double rate = 1);
  void Flush();
  /** EOS, which brings out all that the element holds back. */
  bool End() { return Send(gst_event_new_eos()); }
  /** All buffers that have come out. */
  std::vector<Buffer> Take();
  /** Ends the stream and takes what came out. */
  std::vector<Buffer> Finish();
  Caps OutCaps() const;

  Bus bus;
  Harness harness;
};

Buffer Bytes(const void* data, size_t size, GstClockTime pts = GST_CLOCK_TIME_NONE);
Buffer F32(const Samples& samples, GstClockTime pts = GST_CLOCK_TIME_NONE);
Buffer S16(const Samples& samples, GstClockTime pts = GST_CLOCK_TIME_NONE);
/** `frames` frames of codes in one buffer. */
Buffer Frames(const Codes& codes, int codebooks, GstClockTime pts = GST_CLOCK_TIME_NONE);
/** The same frames in the packed format. */
std::vector<uint8_t> Packed(const Codes& codes, int codebooks, int bits = 11);

Codes CodesOf(const Buffer& buffer);
Codes CodesOf(const std::vector<Buffer>& buffers);
Samples SamplesOf(const Buffer& buffer);
Samples SamplesOf(const std::vector<Buffer>& buffers);
std::vector<int16_t> ShortsOf(const std::vector<Buffer>& buffers);
std::vector<uint8_t> BytesOf(const std::vector<Buffer>& buffers);
/** Samples that the buffer's clipping meta takes from its end; 0 without one. */
uint64_t ClippedEnd(const Buffer& buffer);

/** The number in the element's `stats` whose name begins so. */
uint64_t StatOf(const Rig& rig, const char* word);
GstClockTime FrameTime(int64_t frame, GstClockTime base = 0);

/** Waits for a message of these types, at most some seconds; null if none came. */
Message WaitMessage(GstBus* bus, int types);
/** A message of these types that is there already, or null. */
Message PopMessage(GstBus* bus, int types);
/** True if the message's texts have the word in them. */
bool Says(const Message& message, const std::string& word);
/** The texts of an ERROR or WARNING. */
std::string TextOf(const Message& message);
/** Takes the pipeline to PLAYING and waits for its end, which must be EOS. */
void PlayToEnd(const Element& pipeline);
/** The error that comes, which must be of this domain and code. Fails the test if it is not. */
Message ExpectError(GstBus* bus, GQuark domain, int code);
/** Fails the test if an error or warning is there. */
void ExpectNoTrouble(GstBus* bus);

}  // namespace check

#define fail_unless_codes(got, expected) check::CompareCodes(got, expected, __FILE__, __LINE__)
#define fail_unless_samples(got, expected) check::CompareSamples(got, expected, __FILE__, __LINE__)
#define fail_unless_times(buffers, base) check::CompareTimes(buffers, base, __FILE__, __LINE__)

namespace check {
void CompareCodes(const Codes& got, const Codes& expected, const char* file, int line);
void CompareSamples(const Samples& got, const Samples& expected, const char* file, int line);
/** Each buffer one frame, one after another from `base`, to the nanosecond. */
void CompareTimes(const std::vector<Buffer>& buffers, GstClockTime base, const char* file, int line);
}  // namespace check
