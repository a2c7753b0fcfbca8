// SPDX-License-Identifier: MIT
// How the elements are found, described and plugged (behaviors 3, 21 and 27).
#include "support.h"

using namespace check;

namespace {

GST_START_TEST(test_27_decodebin_picks_the_decoder) {
  for (const char* format : {"codes", "packed"}) {
    Element pipeline = Launch(std::string("audiotestsrc num-buffers=10 samplesperbuffer=1920 ! ") + kF32 +
                              " ! mimienc ! audio/x-mimi,stream-format=" + format +
                              " ! decodebin name=d ! audio/x-raw ! fakesink name=sink sync=false");
    PlayToEnd(pipeline);
    GstIterator* elements = gst_bin_iterate_recurse(GST_BIN(pipeline.get()));
    GValue item = G_VALUE_INIT;
    bool found = false;
    while (gst_iterator_next(elements, &item) == GST_ITERATOR_OK) {
      GstElementFactory* factory = gst_element_get_factory(GST_ELEMENT(g_value_get_object(&item)));
      found |= factory != nullptr && g_str_equal(GST_OBJECT_NAME(factory), "mimidec");
      g_value_reset(&item);
    }
    g_value_unset(&item);
    gst_iterator_free(elements);
    fail_unless(found);
    fail_unless_equals_int64(Counts().frames_decoded % 10, 0);
    fail_unless(Counts().frames_decoded > 0);
  }
}
GST_END_TEST;

GST_START_TEST(test_27_decodebin_puts_the_parser_in_front_of_a_byte_stream) {
  const Codes codes = SomeCodes(10, 8);
  Element pipeline = Launch("appsrc name=src format=bytes ! " + CodesCaps(8, "codes", false) +
                            " ! decodebin ! audio/x-raw ! fakesink sync=false");
  GstElement* source = gst_bin_get_by_name(GST_BIN(pipeline.get()), "src");
  gst_element_set_state(pipeline.get(), GST_STATE_PLAYING);
  Buffer bytes = Bytes(codes.data(), codes.size() * 2);
  GstFlowReturn flow = GST_FLOW_ERROR;
  g_signal_emit_by_name(source, "push-buffer", bytes.get(), &flow);
  g_signal_emit_by_name(source, "end-of-stream", &flow);
  gst_object_unref(source);
  PlayToEnd(pipeline);
  fail_unless_equals_int64(Counts().frames_decoded, 10);
}
GST_END_TEST;

GST_START_TEST(test_3_class_names_and_ranks) {
  struct {
    const char* name;
    const char* klass;
  } expected[] = {
      {"mimienc", "Codec/Encoder/Audio"}, {"mimidec", "Codec/Decoder/Audio"}, {"mimiparse", "Codec/Parser/Audio"}};
  for (const auto& [name, klass] : expected) {
    GstElementFactory* factory = gst_element_factory_find(name);
    fail_unless(factory != nullptr, "no %s", name);
    fail_unless(g_str_has_prefix(gst_element_factory_get_metadata(factory, GST_ELEMENT_METADATA_KLASS), klass));
    for (const char* key :
         {GST_ELEMENT_METADATA_LONGNAME, GST_ELEMENT_METADATA_DESCRIPTION, GST_ELEMENT_METADATA_AUTHOR})
      fail_unless(gst_element_factory_get_metadata(factory, key) != nullptr, "%s has no %s", name, key);
    const guint rank = gst_plugin_feature_get_rank(GST_PLUGIN_FEATURE(factory));
    fail_unless(g_str_equal(name, "mimienc") ? rank <= GST_RANK_MARGINAL : rank >= GST_RANK_MARGINAL);
    gst_object_unref(factory);
  }
}
GST_END_TEST;

bool IsOurs(const GParamSpec* spec) {
  const char* owner = g_type_name(spec->owner_type);
  return g_strrstr(owner, "Mimi") != nullptr || g_strrstr(owner, "Moshi") != nullptr;
}

GST_START_TEST(test_3_properties_tell_the_truth_about_themselves) {
  for (const char* name : {"mimienc", "mimidec", "mimiparse"}) {
    Element element = New(name);
    guint count = 0;
    GParamSpec** specs = g_object_class_list_properties(G_OBJECT_GET_CLASS(element.get()), &count);
    for (guint i = 0; i < count; ++i) {
      GParamSpec* spec = specs[i];
      if (!IsOurs(spec)) continue;
      fail_unless(g_param_spec_get_blurb(spec) != nullptr && strlen(g_param_spec_get_blurb(spec)) > 10, "%s.%s", name,
                  spec->name);
      for (const char* c = spec->name; *c != '\0'; ++c)
        fail_unless(g_ascii_islower(*c) || g_ascii_isdigit(*c) || *c == '-', "%s.%s", name, spec->name);
      if ((spec->flags & G_PARAM_WRITABLE) == 0) continue;
      const int mutability =
          spec->flags & (GST_PARAM_MUTABLE_READY | GST_PARAM_MUTABLE_PAUSED | GST_PARAM_MUTABLE_PLAYING);
      fail_unless(mutability != 0, "%s.%s does not say when it may be set", name, spec->name);
      GValue value = G_VALUE_INIT;
      g_object_get_property(G_OBJECT(element.get()), spec->name, &value);
      fail_unless(g_param_values_cmp(spec, &value, g_param_spec_get_default_value(spec)) == 0,
                  "%s.%s does not begin with its default", name, spec->name);
      g_value_unset(&value);
    }
    g_free(specs);
  }
}
GST_END_TEST;

GST_START_TEST(test_3_what_is_set_is_what_is_read) {
  Element encoder = New("mimienc",
                        "model=/a weights=/b device=cpu precision=bf16 threads=3 processing-latency=5 codebooks=12 "
                        "batch-frames=7");
  char *model = nullptr, *weights = nullptr, *device = nullptr;
  int precision = 0, threads = 0, codebooks = 0, batch = 0;
  gint64 latency = 0;
  g_object_get(encoder.get(), "model", &model, "weights", &weights, "device", &device, "precision", &precision,
               "threads", &threads, "processing-latency", &latency, "codebooks", &codebooks, "batch-frames", &batch,
               nullptr);
  const Text own_model(model), own_weights(weights), own_device(device);
  fail_unless_equals_string(model, "/a");
  fail_unless_equals_string(weights, "/b");
  fail_unless_equals_string(device, "cpu");
  fail_unless_equals_int(precision, 2);
  fail_unless_equals_int(threads, 3);
  fail_unless_equals_int64(latency, 5);
  fail_unless_equals_int(codebooks, 12);
  fail_unless_equals_int(batch, 7);
}
GST_END_TEST;

Suite* autoplug_suite() {
  Suite* suite = suite_create("autoplug");
  TCase* tcase = AddCase(suite, "autoplug");
  tcase_add_test(tcase, test_27_decodebin_picks_the_decoder);
  tcase_add_test(tcase, test_27_decodebin_puts_the_parser_in_front_of_a_byte_stream);
  tcase_add_test(tcase, test_3_class_names_and_ranks);
  tcase_add_test(tcase, test_3_properties_tell_the_truth_about_themselves);
  tcase_add_test(tcase, test_3_what_is_set_is_what_is_read);
  return suite;
}

}  // namespace

GST_CHECK_MAIN(autoplug)
