// SPDX-License-Identifier: MIT
// A conversation with a server, from the first connection to the last.
#pragma once

#include <glib.h>

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "../app.h"
#include "../wire/ogg_opus.h"
#include "devices.h"
#include "link.h"
#include "options.h"
#include "playout.h"
#include "transcript.h"

namespace client {

/// One thread, the default main context.
class Client {
 public:
  Client(const Options& options, Transcript transcript);
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  /// Until the end. False after an error, which has been said.
  bool run();

 private:
  bool set_up();
  void connect();
  void reconnect(const std::string& why);
  void fail(const std::string& sentence);
  void stop();
  void write_out();
  void quit();

  void on_opened();
  void on_ended(const Link::End& end);
  void on_message(wire::View bytes);
  void on_handshake();
  void on_audio(wire::View bytes);
  void on_metadata(wire::View bytes);
  void on_answer();
  void on_tick();

  void pump();
  void send_live();
  void send_file();
  void send_frame();
  void watch_live();
  void watch_file();
  int64_t answered() const;
  void print_stats() const;

  const Options options_;
  Transcript transcript_;
  Playout playout_;
  const std::unique_ptr<GMainLoop, app::Deleter<g_main_loop_unref>> loop_;
  std::unique_ptr<Devices> devices_;
  std::unique_ptr<Decoder> decoder_;
  std::vector<guint> sources_;
  bool good_ = true, stopping_ = false, writing_out_ = false;

  // Of this connection.
  std::unique_ptr<Link> link_;
  std::optional<wire::OggOpusReader> reader_;
  std::optional<wire::OggOpusWriter> writer_;
  bool begun_ = false;      // the handshake has come
  bool told_why_ = false;   // by the server
  bool told_wait_ = false;  // that it waits
  bool all_sent_ = false;   // of a file
  wire::Bytes frame_;       // pages of a frame of a file, until it is complete
  int frame_packets_ = 0;
  int64_t window_ = 0;  // frames of a file that may be under way
  int64_t frames_sent_ = 0, samples_heard_ = 0, frames_told_ = 0;
  std::deque<gint64> sent_at_;
  gint64 since_ = 0, last_message_ = 0, last_answer_ = 0, next_frame_at_ = 0;

  // Of all connections.
  bool ever_begun_ = false;
  guint backoff_ms_ = 0, retry_ = 0;
  int64_t packets_sent_ = 0, all_samples_heard_ = 0;
  uint64_t reconnects_ = 0, discarded_ = 0, bad_packets_ = 0;
  std::vector<double> delays_ms_;
  std::string server_stats_;
  gint64 drained_at_ = 0;
};

}  // namespace client
