// SPDX-License-Identifier: MIT
//
// Talk to a language model: a page for browsers, and the protocol of docs/protocol.md for clients. Each client gets a
// pipeline of its own on one shared model.
//
//   moshi-server [--host NAME] [--port N] [--model DIRECTORY-or-hub-id] [--tls] [options]
//
// Ctrl-C and SIGTERM give conversations some seconds to end; a second one does not.
// Exit status: 0 stopped, 1 an error, 2 wrong usage.
#include <glib-unix.h>

#include <csignal>
#include <cstdlib>

#include "../app.h"
#include "capacity.h"
#include "certificate.h"
#include "http_server.h"
#include "log.h"

namespace {

using server::Capacity;
using server::ModelFacts;
using server::log::Level;

constexpr int64_t kProgressInterval = G_USEC_PER_SEC;

/// From the start of the process to its end. The main loop's sources call it.
class Program {
 public:
  explicit Program(const server::Options& options) : options_(options), loop_(g_main_loop_new(nullptr, FALSE)) {}

  bool run() {
    // Not removed at the end: a signal that comes then would have its default effect.
    for (const int signal : {SIGINT, SIGTERM}) g_unix_signal_add(signal, on_signal, this);
    std::string problem;
    http_ = server::HttpServer::listen(options_, &problem);
    if (http_) {
      say_listening();
      load();
      g_main_loop_run(loop_.get());
    } else {
      fail(problem);
    }
    return good_;
  }

 private:
  static gboolean on_signal(gpointer user) {
    auto* self = static_cast<Program*>(user);
    self->stop();
    return G_SOURCE_CONTINUE;
  }

  void fail(const std::string& sentence) {
    server::log::write(Level::kError, "error", {{"text", sentence}});
    good_ = false;
    g_main_loop_quit(loop_.get());
  }

  void stop() {
    const double seconds = stopping_ || !ready_ ? 0 : options_.drain_seconds;
    server::log::write(
        Level::kInfo, "stopping",
        {{"text", seconds > 0 ? "conversations may end; a second signal ends them" : "at once"}, {"drain", seconds}});
    stopping_ = true;
    http_->stop(seconds, [this] { g_main_loop_quit(loop_.get()); });
  }

  void say_listening() {
    server::log::write(Level::kInfo, "listening", {{"address", http_->address()}});
    if (options_.tls_folder.empty()) return;
    const std::string& folder = options_.tls_folder;
    server::log::write(Level::kInfo, "certificate", {{"folder", folder}, {"sha256", server::fingerprint(folder)}});
  }

  void load() {
    const std::string name = options_.model.model;
    server::log::write(Level::kInfo, "loading", {{"model", name.empty() ? "embedded" : name}});
    const auto progress = [this](const std::string& text) {
      const int64_t now = g_get_monotonic_time();
      if (now - last_progress_ < kProgressInterval) return;
      last_progress_ = now;
      server::log::write(Level::kInfo, "loading", {{"text", text}});
    };
    model_ = server::LoadedModel::load(options_.model, progress, [this](const ModelFacts* facts, std::string problem) {
      if (!facts) return fail(problem);
      facts_ = *facts;
      measure();
    });
  }

  void measure() {
    if (stopping_) return;
    if (options_.sessions) return begin(Capacity{*options_.sessions, 0, 0});
    server::log::write(Level::kInfo, "measuring", {{"text", "how many conversations go together"}});
    probe_ = server::CapacityProbe::run(options_.model, [this](const Capacity* capacity, std::string problem) {
      if (!capacity) return fail(problem);
      const Capacity measured = *capacity;
      server::log::write(Level::kInfo, "measured",
                         {{"real_time", measured.real_time}, {"together", static_cast<int64_t>(measured.together)}});
      probe_.reset();
      begin(measured);
    });
  }

  void begin(const Capacity& capacity) {
    if (stopping_) return;
    ready_ = true;
    const int64_t places = capacity.sessions;
    const bool slow = capacity.together > 0 && capacity.real_time < 1;
    if (slow)
      server::log::write(Level::kWarning, "slow",
                         {{"text", "this machine is slower than real time with this model: what is said is dropped"},
                          {"real_time", capacity.real_time}});
    http_->ready(facts_, capacity.sessions);
    const std::string many = places == 1 ? "1 conversation" : std::to_string(places) + " conversations";
    server::log::write(Level::kInfo, "ready",
                       {{"text", "open " + http_->address() + " in a browser and talk; " + many + " at once"},
                        {"address", http_->address()},
                        {"model", facts_.name},
                        {"places", places},
                        {"queue", int64_t(options_.queue)}});
  }

  const server::Options options_;
  const std::unique_ptr<GMainLoop, app::Deleter<g_main_loop_unref>> loop_;
  ModelFacts facts_;
  // What is made later uses what was made before, and is destroyed first.
  std::unique_ptr<server::LoadedModel> model_;
  std::unique_ptr<server::CapacityProbe> probe_;
  std::unique_ptr<server::HttpServer> http_;
  int64_t last_progress_ = 0;
  bool ready_ = false, stopping_ = false, good_ = true;
};

}  // namespace

int main(int argc, char** argv) {
  app::program = "moshi-server";
  const auto options = server::parse_options(argc, argv);
  if (!options) return 2;
  server::log::set_style(options->log_style);
  server::log::take_glibs();
  std::signal(SIGPIPE, SIG_IGN);
  return Program(*options).run() ? EXIT_SUCCESS : EXIT_FAILURE;
}
