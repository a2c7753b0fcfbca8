// SPDX-License-Identifier: MIT
// A minute of conversation with the embedded models in real time: a live source paced by the clock, one compute thread.
#include <gst/app/gstappsrc.h>
#include <gst/gst.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <memory>
#include <thread>

namespace {

constexpr int kRate = 24000, kFrame = 1920;
constexpr int kSeconds = 60, kFrames = kSeconds * kRate / kFrame;
constexpr int kBlock = 480;  // samples that the source gives at a time, 20 ms
constexpr GstClockTime kPatience = 3 * kSeconds * GST_SECOND;

struct Unref {
  void operator()(void* object) const { gst_object_unref(object); }
};
using Element = std::unique_ptr<GstElement, Unref>;
struct FreeStructure {
  void operator()(GstStructure* structure) const { gst_structure_free(structure); }
};
using Structure = std::unique_ptr<GstStructure, FreeStructure>;
struct UnrefMessage {
  void operator()(GstMessage* message) const { gst_message_unref(message); }
};
using Message = std::unique_ptr<GstMessage, UnrefMessage>;

// Processing latency leaves room for whatever else the machine does: what is tested is that nothing is lost in it.
constexpr const char* kPipeline =
    "appsrc name=mic is-live=true format=time caps=audio/x-raw,format=F32LE,layout=interleaved,rate=24000,channels=1 ! "
    "queue ! mimienc name=encoder threads=1 ! moshilm name=lm threads=1 processing-latency=200000000 ! "
    "mimidec name=decoder threads=1 ! queue ! fakesink name=speaker sync=true "
    "lm.text_src ! fakesink sync=true";

class Live : public testing::Test {
 protected:
  void SetUp() override {
    GError* error = nullptr;
    pipeline_.reset(gst_parse_launch(kPipeline, &error));
    ASSERT_EQ(error, nullptr) << error->message;
    bus_.reset(gst_element_get_bus(pipeline_.get()));
  }
  void TearDown() override { gst_element_set_state(pipeline_.get(), GST_STATE_NULL); }

  Element element(const char* name) { return Element(gst_bin_get_by_name(GST_BIN(pipeline_.get()), name)); }

  /// The next message of these types; an error is a failure of the test.
  Message wait(int types) {
    Message message(gst_bus_timed_pop_filtered(bus_.get(), kPatience, GstMessageType(types | GST_MESSAGE_ERROR)));
    if (message && GST_MESSAGE_TYPE(message.get()) == GST_MESSAGE_ERROR) {
      GError* error = nullptr;
      gst_message_parse_error(message.get(), &error, nullptr);
      ADD_FAILURE() << error->message;
      g_error_free(error);
      message.reset();
    }
    return message;
  }

  /// Before it plays: whoever speaks while a model is loaded is not heard.
  bool load() {
    gst_element_set_state(pipeline_.get(), GST_STATE_READY);
    for (int loaded = 0; loaded < 3;) {
      const Message message = wait(GST_MESSAGE_PROGRESS);
      if (!message) return false;
      GstProgressType type;
      gst_message_parse_progress(message.get(), &type, nullptr, nullptr);
      loaded += type == GST_PROGRESS_TYPE_COMPLETE;
    }
    return true;
  }

  guint64 count(const char* name, const char* field) {
    GstStructure* raw = nullptr;
    g_object_get(element(name).get(), "stats", &raw, nullptr);
    const Structure stats(raw);
    const GValue* value = gst_structure_get_value(stats.get(), field);
    if (!value) ADD_FAILURE() << name << " has no " << field;
    return value ? g_value_get_uint64(value) : 0;
  }

  bool embedded(const char* name) {
    GstStructure* raw = nullptr;
    g_object_get(element(name).get(), "model-info", &raw, nullptr);
    const Structure info(raw);
    gboolean embedded = FALSE;
    return gst_structure_get_boolean(info.get(), "embedded", &embedded) && embedded;
  }

  Element pipeline_;
  std::unique_ptr<GstBus, Unref> bus_;
};

/// Noise that swells and falls like syllables.
GstBuffer* block(uint32_t* seed, int number) {
  GstBuffer* buffer = gst_buffer_new_allocate(nullptr, kBlock * sizeof(float), nullptr);
  GstMapInfo map;
  gst_buffer_map(buffer, &map, GST_MAP_WRITE);
  auto* samples = reinterpret_cast<float*>(map.data);
  for (int i = 0; i < kBlock; ++i) {
    *seed = *seed * 1664525u + 1013904223u;
    const double time = (static_cast<double>(number) * kBlock + i) / kRate;
    const double noise = (*seed >> 8) / 8388608.0 - 1;
    samples[i] = static_cast<float>(0.2 * noise * std::pow(std::sin(10 * time), 2));
  }
  gst_buffer_unmap(buffer, &map);
  GST_BUFFER_PTS(buffer) = gst_util_uint64_scale(static_cast<guint64>(number) * kBlock, GST_SECOND, kRate);
  GST_BUFFER_DURATION(buffer) = gst_util_uint64_scale(kBlock, GST_SECOND, kRate);
  return buffer;
}

/// A microphone: each block when its last sample has been heard.
void speak(GstElement* pipeline, GstElement* source) {
  GstClock* clock = gst_element_get_clock(pipeline);
  const GstClockTime base = gst_element_get_base_time(pipeline);
  uint32_t seed = 1;
  for (int number = 0; number < kFrames * kFrame / kBlock; ++number) {
    GstBuffer* buffer = block(&seed, number);
    GstClockID when = gst_clock_new_single_shot_id(clock, base + GST_BUFFER_PTS(buffer) + GST_BUFFER_DURATION(buffer));
    gst_clock_id_wait(when, nullptr);
    gst_clock_id_unref(when);
    if (gst_app_src_push_buffer(GST_APP_SRC(source), buffer) != GST_FLOW_OK) break;
  }
  gst_app_src_end_of_stream(GST_APP_SRC(source));
  gst_object_unref(clock);
}

TEST_F(Live, AMinuteOfFullDuplexLosesNothing) {
  ASSERT_TRUE(load());
  for (const char* name : {"encoder", "lm", "decoder"}) EXPECT_TRUE(embedded(name)) << name;
  const Element source = element("mic");
  g_object_set(source.get(), "min-latency", static_cast<gint64>(20 * GST_MSECOND), nullptr);
  ASSERT_NE(gst_element_set_state(pipeline_.get(), GST_STATE_PLAYING), GST_STATE_CHANGE_FAILURE);
  std::thread speaker(speak, pipeline_.get(), source.get());
  const Message end = wait(GST_MESSAGE_EOS);
  if (!end) gst_element_set_state(pipeline_.get(), GST_STATE_NULL);
  speaker.join();
  ASSERT_TRUE(end) << "no end of stream";

  EXPECT_EQ(count("encoder", "frames"), kFrames);
  EXPECT_EQ(count("lm", "frames-in"), kFrames);
  EXPECT_EQ(count("lm", "frames-out"), kFrames);
  EXPECT_EQ(count("lm", "dropped-frames"), 0u) << "frames came too late";
  EXPECT_EQ(count("decoder", "frames"), kFrames);
  for (const char* name : {"encoder", "lm", "decoder"}) EXPECT_EQ(count(name, "dropped-buffers"), 0u) << name;
  EXPECT_EQ(count("encoder", "restarts"), 0u);
  EXPECT_EQ(count("encoder", "filled-samples"), 0u);
  EXPECT_EQ(count("decoder", "errors"), 0u);
}

}  // namespace

int main(int argc, char** argv) {
  gst_init(&argc, &argv);
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
