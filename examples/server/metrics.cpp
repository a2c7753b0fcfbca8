// SPDX-License-Identifier: MIT
#include "metrics.h"

#include <unistd.h>

#include <concepts>
#include <cstdio>
#include <fstream>
#include <memory>

#include "../app.h"

namespace server {
namespace {

std::string number(double value) {
  char text[32];
  snprintf(text, sizeof text, "%.10g", value);
  return text;
}

template <std::integral T>
std::string number(T value) {
  return std::to_string(value);
}

std::string head(const std::string& name, const char* type, const std::string& help) {
  return "# HELP " + name + " " + help + "\n# TYPE " + name + " " + type + "\n";
}

std::string single(const std::string& name, const char* type, const std::string& help, auto value) {
  return head(name, type, help) + name + " " + number(value) + "\n";
}

std::string by_reason(const std::string& name, const std::string& help, const std::map<std::string, uint64_t>& counts) {
  std::string text = head(name, "counter", help);
  for (const auto& [reason, count] : counts) text += name + "{reason=\"" + reason + "\"} " + number(count) + "\n";
  return text;
}

double resident_bytes() {
  double all = 0, resident = 0;
  std::ifstream("/proc/self/statm") >> all >> resident;
  return resident * static_cast<double>(sysconf(_SC_PAGESIZE));
}

double open_files() {
  const std::unique_ptr<GDir, app::Deleter<g_dir_close>> folder(g_dir_open("/proc/self/fd", 0, nullptr));
  double count = -1;  // the folder itself
  while (folder && g_dir_read_name(folder.get())) ++count;
  return count;
}

}  // namespace

void Histogram::add(double seconds) {
  for (size_t i = 0; i < kBounds.size(); ++i) {
    if (seconds <= kBounds[i]) ++counts_[i];
  }
  ++count_;
  sum_ += seconds;
}

std::string Histogram::text(const std::string& name, const std::string& help) const {
  std::string text = head(name, "histogram", help);
  for (size_t i = 0; i < kBounds.size(); ++i)
    text += name + "_bucket{le=\"" + number(kBounds[i]) + "\"} " + number(counts_[i]) + "\n";
  const std::string count = number(count_);
  return text + name + "_bucket{le=\"+Inf\"} " + count + "\n" + name + "_sum " + number(sum_) + "\n" + name +
         "_count " + count + "\n";
}

std::string Metrics::text() const {
  std::string text =
      single("moshi_sessions_active", "gauge", "Conversations now.", active) +
      single("moshi_sessions_queued", "gauge", "Clients that wait for a place.", queued) +
      single("moshi_sessions_capacity", "gauge", "Conversations at once at most; 0: not known yet.", capacity);
  const struct {
    const char *name, *help;
    uint64_t value;
  } counters[] = {
      {"connections", "WebSockets that were accepted.", connections},
      {"frames_in", "Frames (80 ms) that models have heard.", frames_in},
      {"frames_out", "Frames that models have answered.", frames_out},
      {"dropped_frames", "Frames that came faster than they could be heard.", dropped_frames},
      {"late_frames", "Answers that took longer than a frame lasts.", late_frames},
      {"bytes_in", "Payload that came from clients.", bytes_in},
      {"bytes_out", "Payload that was sent to clients.", bytes_out},
      {"bad_messages", "Messages that were discarded.", bad_messages},
      {"bad_packets", "Opus packets and Ogg pages that were discarded.", bad_packets},
      {"dropped_output", "Messages that were not sent because the client reads too slowly.", dropped_output},
  };
  for (const auto& one : counters)
    text += single(std::string("moshi_") + one.name + "_total", "counter", one.help, one.value);
  return text + by_reason("moshi_session_ends_total", "Ends of clients that were taken in.", ends) +
         by_reason("moshi_refusals_total", "Clients that were not taken in.", refusals) +
         frame_delay.text("moshi_frame_delay_seconds", "From the last sound of a frame to its answer.") +
         join_latency.text("moshi_join_latency_seconds", "From a client's coming to its handshake.") +
         single("process_resident_memory_bytes", "gauge", "Resident memory.", resident_bytes()) +
         single("process_open_fds", "gauge", "Open files and sockets.", open_files());
}

}  // namespace server
