// SPDX-License-Identifier: MIT
#include "app.h"

#include <filesystem>
#include <set>

namespace app {
namespace {

const std::string kEchoCaps = "audio/x-raw,format=S16LE,rate=48000,channels=1 ! ";

}  // namespace

bool has_echo_cancellation() {
  const Object<GstElementFactory> canceller(gst_element_factory_find("webrtcdsp"));
  const Object<GstElementFactory> probe(gst_element_factory_find("webrtcechoprobe"));
  return canceller && probe;
}

std::string echo_canceller() {
  // Automatic gain would bring up what is left of the echo.
  // Not delay-agnostic: that passes over the timestamps, which tell what the loudspeaker still holds.
  return kEchoCaps + "webrtcdsp probe=echo gain-control=false";
}

std::string echo_probe() { return kEchoCaps + "webrtcechoprobe name=echo"; }

bool distinct(std::initializer_list<std::string> names) {
  std::set<std::filesystem::path> seen;
  for (const std::string& name : names) {
    if (name.empty()) continue;
    const Text local(g_filename_from_uri(name.c_str(), nullptr, nullptr));
    std::error_code error;  // of what is not there, which is no matter
    const auto whole = std::filesystem::absolute(local ? std::string(local.get()) : name, error);
    if (std::filesystem::is_other(whole, error)) continue;  // a pipe's own name leads to no path
    if (!seen.insert(std::filesystem::weakly_canonical(whole, error)).second)
      return fail(name + " is named twice: one would be written over the other");
  }
  return true;
}

void find_elements() {
  const Object<GstElementFactory> known(gst_element_factory_find("mimienc"));
  const Text self(known ? nullptr : g_file_read_link("/proc/self/exe", nullptr));
  if (!self) return;
  const Text folder(g_path_get_dirname(self.get()));
  for (const char* place : {MOSHI_PLUGINS_FROM_BINDIR, "../gst", "../../gst"}) {
    const Text file(g_build_filename(folder.get(), place, "libgstmoshi.so", nullptr));
    if (!g_file_test(file.get(), G_FILE_TEST_IS_REGULAR)) continue;
    GError* raw = nullptr;
    const Object<GstPlugin> plugin(gst_plugin_load_file(file.get(), &raw));
    const Error error(raw);
    if (plugin) return;
    GST_WARNING("%s: %s", file.get(), error->message);
  }
}

}  // namespace app
