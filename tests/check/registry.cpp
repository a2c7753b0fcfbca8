// SPDX-License-Identifier: MIT
// The plugin and the core as files: nothing heavy is mapped by a scan, and whatever is wrong with the core is a clear
// error of an element that exists (behaviors 22, 28, 30 and 31). Each case is a process of its own.
#include <glib/gstdio.h>

#include <fstream>
#include <sstream>

#include "handles.h"
#include "process.h"

using namespace check;

namespace {

const char* const kElements[] = {"mimienc", "mimidec", "mimiparse", "moshilm"};
const std::string kLine =
    "audiotestsrc num-buffers=5 samplesperbuffer=1920 ! "
    "audio/x-raw,format=F32LE,layout=interleaved,rate=24000,channels=1 ! mimienc ! mimidec ! fakesink sync=false";

std::string PluginFile() { return std::string(g_getenv("GST_PLUGIN_PATH")) + "/libgstmoshi.so"; }

std::string Maps() {
  std::ifstream file("/proc/self/maps");
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

long ResidentKb() {
  std::ifstream file("/proc/self/statm");
  long size = 0, resident = 0;
  file >> size >> resident;
  return resident * 4;
}

GST_START_TEST(test_30_the_plugin_needs_neither_libtorch_nor_the_core) {
  const Ran needed = Run({"readelf", "-d", PluginFile()});
  fail_unless_equals_int(needed.exit, 0);
  fail_unless(needed.Says("libgstreamer-1.0"));
  for (const char* word : {"torch", "libc10", "moshi-core", "libgomp", "libmkl", "protobuf", "cuda"})
    fail_if(needed.Says(std::string("Shared library: [") + word) || needed.Says(std::string("[lib") + word),
            "the plugin needs %s", word);
  const Ran all = Run({"ldd", PluginFile()});
  fail_unless_equals_int(all.exit, 0);
  for (const char* word : {"torch", "libc10", "moshi-core", "libgomp", "protobuf", "not found"})
    fail_if(all.Says(word), "ldd of the plugin has %s", word);
}
GST_END_TEST;

GST_START_TEST(test_30_the_plugin_exports_its_entry_only) {
  const Ran symbols = Run({"nm", "-D", "--defined-only", PluginFile()});
  std::istringstream lines(symbols.out);
  int entries = 0;
  for (std::string line; std::getline(lines, line);) {
    // Templates of the standard library are weak or unique in any shared object.
    if (line.find(" T ") == std::string::npos) continue;
    fail_unless(line.find("gst_plugin_moshi_") != std::string::npos, "exported: %s", line.c_str());
    ++entries;
  }
  fail_unless(entries >= 1);
}
GST_END_TEST;

GST_START_TEST(test_31_making_an_element_maps_nothing_heavy) {
  gst_object_unref(gst_element_factory_make("identity", nullptr));
  const long before = ResidentKb();
  GstElement* elements[3];
  for (int i = 0; i < 3; ++i) {
    elements[i] = gst_element_factory_make(kElements[i], nullptr);
    fail_unless(elements[i] != nullptr, "no %s", kElements[i]);
  }
  const std::string maps = Maps();
  fail_unless(maps.find("libgstmoshi.so") != std::string::npos);
  for (const char* word : {"torch", "libc10", "moshi-core"})
    fail_unless(maps.find(word) == std::string::npos, "%s is mapped", word);
  fail_unless(ResidentKb() - before < 16 * 1024, "%ld KiB more", ResidentKb() - before);
  for (GstElement* element : elements) gst_object_unref(element);
}
GST_END_TEST;

GST_START_TEST(test_31_a_scan_opens_no_core) {
  // The scanner is a process of its own; the linker's report tells what it opened.
  const Ran scan = Run({"gst-inspect-1.0", "mimienc"}, {{"LD_DEBUG", "files"}});
  fail_unless_equals_int(scan.exit, 0);
  fail_unless(scan.Says("libgstmoshi.so"));
  fail_if(scan.Says("libmoshi-core"));
  fail_if(scan.Says("torch"));
}
GST_END_TEST;

std::map<std::string, std::string> BrokenCores() {
  return {{"missing", "/no/such/libmoshi-core.so"},
          {"no library at all", "/etc/passwd"},
          {"a library without the symbol", g_getenv("MOSHI_TEST_NOT_A_CORE")},
          {"a folder", "/tmp"}};
}

void ExpectElementsExist(const char* what, const std::map<std::string, std::string>& environment) {
  const Ran inspect = Run({"gst-inspect-1.0", "moshi"}, environment);
  fail_unless(inspect.exit == 0, "core %s: %s", what, inspect.err.c_str());
  for (const char* name : kElements) fail_unless(inspect.Says(std::string(name) + ": "), "core %s: no %s", what, name);
  fail_if(inspect.Says("CRITICAL") || inspect.Says("WARNING"), "core %s: %s", what, inspect.err.c_str());
  const Ran blacklist = Run({"gst-inspect-1.0", "-b"}, environment);
  fail_if(blacklist.Says("libgstmoshi"), "blacklisted, core %s", what);
}

GST_START_TEST(test_30_a_broken_core_hides_no_element) {
  for (const auto& [what, path] : BrokenCores()) ExpectElementsExist(what.c_str(), {{"MOSHI_CORE", path}});
  ExpectElementsExist("of another ABI", {{"MOSHI_FAKE_ABI", "99"}});
}
GST_END_TEST;

GST_START_TEST(test_22_a_broken_core_is_a_clear_error) {
  for (const auto& [what, path] : BrokenCores()) {
    const Ran ran = RunLine(kLine, {{"MOSHI_CORE", path}});
    fail_unless(ran.exit > 0, "core %s: exit %d", what.c_str(), ran.exit);
    fail_unless(ran.Says("ERROR: from element"), "core %s: %s", what.c_str(), ran.err.c_str());
    fail_unless(ran.Says("core"), "core %s: %s", what.c_str(), ran.err.c_str());
    fail_if(ran.Says("CRITICAL"), "core %s: %s", what.c_str(), ran.err.c_str());
  }
}
GST_END_TEST;

GST_START_TEST(test_22_a_missing_core_is_named_with_what_to_do) {
  const Ran ran = RunLine(kLine, {{"MOSHI_CORE", "/no/such/libmoshi-core.so"}});
  fail_unless(ran.exit > 0);
  fail_unless(ran.Says("/no/such/libmoshi-core.so") && ran.Says("MOSHI_CORE"), "%s", ran.err.c_str());
}
GST_END_TEST;

GST_START_TEST(test_22_a_core_of_another_version_is_a_clear_error) {
  const Ran ran = RunLine(kLine, {{"MOSHI_FAKE_ABI", "99"}});
  fail_unless(ran.exit > 0);
  fail_unless(ran.Says("version"), "%s", ran.err.c_str());
}
GST_END_TEST;

GST_START_TEST(test_22_another_libtorch_in_the_process_is_an_error_and_no_abort) {
  // Preloaded, it is mapped before the core; the core of this test needs a file of the same name elsewhere.
  const std::string core = g_getenv("MOSHI_TEST_TORCH_CORE"), other = g_getenv("MOSHI_TEST_OTHER_TORCH");
  const Ran alone = RunLine(kLine, {{"MOSHI_CORE", core}});
  fail_unless(alone.exit == 0, "%s", alone.err.c_str());
  const Ran both = RunLine(kLine, {{"MOSHI_CORE", core}, {"LD_PRELOAD", other}});
  fail_unless(both.exit > 0, "exit %d", both.exit);
  fail_unless(both.Says("LibTorch") && both.Says(other), "%s", both.err.c_str());
}
GST_END_TEST;

GST_START_TEST(test_28_gst_launch_plays_and_ends) {
  const Ran ran = RunLine(kLine);
  fail_unless(ran.exit == 0, "%s", ran.err.c_str());
  fail_unless(ran.Says("Got EOS"));
  fail_if(ran.Says("CRITICAL") || ran.Says("WARNING"), "%s%s", ran.out.c_str(), ran.err.c_str());
}
GST_END_TEST;

GST_START_TEST(test_28_gst_launch_waits_for_a_slow_load_and_ends_on_a_failed_one) {
  const Ran slow = RunLine(kLine, {{"MOSHI_FAKE_LOAD_MS", "300"}});
  fail_unless(slow.exit == 0, "%s", slow.err.c_str());
  fail_unless(slow.Says("model-load"));
  const Ran failed = RunLine(kLine, {{"MOSHI_FAKE_LOAD_MS", "100"}, {"MOSHI_FAKE_LOAD_FAIL", "4"}});
  fail_unless(failed.exit > 0);
  fail_unless(failed.Says("ERROR: from element"));
}
GST_END_TEST;

GST_START_TEST(test_29_gst_launch_under_the_leaks_tracer) {
  const Ran ran =
      RunLine(kLine, {{"GST_TRACERS", "leaks"}, {"GST_DEBUG", "GST_TRACER:7"}, {"GST_DEBUG_NO_COLOR", "1"}});
  fail_unless_equals_int(ran.exit, 0);
  fail_if(ran.Says("object-alive, type-name=(string)Gst"), "%.2000s", ran.err.c_str());
}
GST_END_TEST;

GST_START_TEST(test_28_no_warning_is_logged_on_a_good_line) {
  const Ran ran = RunLine(kLine, {{"GST_DEBUG", "*:WARNING"}, {"GST_DEBUG_NO_COLOR", "1"}});
  fail_unless_equals_int(ran.exit, 0);
  for (const char* word : {"mimi", "moshi"}) {
    std::istringstream lines(ran.err);
    for (std::string line; std::getline(lines, line);)
      fail_if(line.find(" WARN ") != std::string::npos && line.find(word) != std::string::npos, "%s", line.c_str());
  }
  fail_if(ran.Says(" ERROR "), "%s", ran.err.c_str());
}
GST_END_TEST;

Suite* registry_suite() {
  Suite* suite = suite_create("registry");
  TCase* tcase = tcase_create("registry");
  tcase_set_timeout(tcase, 60);
  suite_add_tcase(suite, tcase);
  tcase_add_test(tcase, test_30_the_plugin_needs_neither_libtorch_nor_the_core);
  tcase_add_test(tcase, test_30_the_plugin_exports_its_entry_only);
  tcase_add_test(tcase, test_31_making_an_element_maps_nothing_heavy);
  tcase_add_test(tcase, test_31_a_scan_opens_no_core);
  tcase_add_test(tcase, test_30_a_broken_core_hides_no_element);
  tcase_add_test(tcase, test_22_a_broken_core_is_a_clear_error);
  tcase_add_test(tcase, test_22_a_missing_core_is_named_with_what_to_do);
  tcase_add_test(tcase, test_22_a_core_of_another_version_is_a_clear_error);
  tcase_add_test(tcase, test_22_another_libtorch_in_the_process_is_an_error_and_no_abort);
  tcase_add_test(tcase, test_28_gst_launch_plays_and_ends);
  tcase_add_test(tcase, test_28_gst_launch_waits_for_a_slow_load_and_ends_on_a_failed_one);
  tcase_add_test(tcase, test_28_no_warning_is_logged_on_a_good_line);
  tcase_add_test(tcase, test_29_gst_launch_under_the_leaks_tracer);
  return suite;
}

}  // namespace

GST_CHECK_MAIN(registry)
