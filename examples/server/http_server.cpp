// SPDX-License-Identifier: MIT
#include "http_server.h"

#include <libsoup/soup.h>

#include <algorithm>
#include <utility>

#include "../app.h"
#include "access.h"
#include "certificate.h"
#include "clients.h"
#include "connections.h"
#include "guarded_stream.h"
#include "listening.h"
#include "log.h"
#include "metrics.h"
#include "page_files.h"
#include "requests.h"

namespace server {
namespace {

using log::Level;

constexpr const char* kChat = "/api/chat";
constexpr const char* kRetrySeconds = "2";
constexpr const char* kLoadingSentence = "The models are being loaded; try again in a moment.";
constexpr int kMoreConnections = 1024;  // besides conversations and those that wait
constexpr int kFilesOfSession = 24;     // a pipeline's, and its socket

using Certificate = std::unique_ptr<GTlsCertificate, app::Deleter<g_object_unref>>;

class Server : public HttpServer {
 public:
  explicit Server(const Options& options)
      : options_(options),
        most_files_(raise_file_limit()),
        soup_(soup_server_new(nullptr, nullptr)),
        connections_(std::make_unique<Connections>(soup_.get(), 0)),
        page_(options.page),
        clients_(options_, &metrics_) {
    limit_connections(0);
  }
  ~Server() override;

  bool start(std::string* problem);
  void ready(const ModelFacts& facts, int places) override;
  void stop(double seconds, std::function<void()> done) override;
  std::string address() const override { return address_; }

 private:
  enum class State { kLoading, kReady, kStopping };
  static void on_request(SoupServer*, SoupServerMessage* message, const char* path, GHashTable*, gpointer user);
  static void on_chat(SoupServer*, SoupServerMessage* message, const char* path, GHashTable*, gpointer user);
  void on_socket(SoupServerMessage* message, SoupWebsocketConnection* socket);

  Certificate load_certificate(std::string* problem) const;
  void limit_connections(int places);
  bool allowed(SoupServerMessage* message);
  void refuse(SoupServerMessage* message, guint status, const char* reason, const std::string& sentence);
  void answer_page(SoupServerMessage* message, const char* path);
  void answer_health(SoupServerMessage* message);
  void answer_info(SoupServerMessage* message);
  Json info() const;

  const Options options_;
  const int most_files_;
  const std::unique_ptr<SoupServer, app::Deleter<g_object_unref>> soup_;
  std::unique_ptr<Connections> connections_;
  const PageFiles page_;
  Metrics metrics_;
  State state_ = State::kLoading;
  std::string address_;
  ModelFacts facts_;
  Clients clients_;
};

// --- Beginning and end --------------------------------------------------------------------------------------------

Server::~Server() { soup_server_disconnect(soup_.get()); }

Certificate Server::load_certificate(std::string* problem) const {
  const std::string& folder = options_.tls_folder;
  if (!ensure_certificate(folder, options_.host, problem)) return nullptr;
  GError* raw = nullptr;
  Certificate certificate(
      g_tls_certificate_new_from_files((folder + "/cert.pem").c_str(), (folder + "/key.pem").c_str(), &raw));
  const app::Error error(raw);
  if (!certificate) {
    *problem = "cannot use cert.pem and key.pem of " + folder + ": " + error->message;
    if (!g_tls_backend_supports_tls(g_tls_backend_get_default()))
      *problem = "GLib has no TLS here: install glib-networking";
  } else if (expired(folder)) {
    log::write(Level::kWarning, "certificate", {{"text", "the certificate in " + folder + " has expired"}});
  }
  return certificate;
}

bool Server::start(std::string* problem) {
  const bool tls = !options_.tls_folder.empty();
  const Certificate certificate = tls ? load_certificate(problem) : nullptr;
  if (tls && !certificate) return false;
  soup_server_add_handler(soup_.get(), "/", on_request, this, nullptr);
  soup_server_add_handler(soup_.get(), kChat, on_chat, this, nullptr);
  auto sockets = listen_on(options_.host, options_.port, problem);
  if (sockets.empty()) return false;
  const bool any = options_.host == "0.0.0.0" || options_.host == "::";
  address_ = std::string(tls ? "https://" : "http://") + (any ? "localhost" : in_url(options_.host)) + ":" +
             std::to_string(port_of(sockets.front().get()));
  connections_->listen(std::move(sockets), certificate.get());
  return true;
}

void Server::limit_connections(int places) {
  const int wanted = places + options_.queue + kMoreConnections;
  const int most = std::clamp(most_files_ - 64 - places * kFilesOfSession, 16, wanted);
  connections_->set_most(most);
  if (most < places + options_.queue)
    log::write(Level::kWarning, "files",
               {{"text", "the limit of open files allows fewer connections than places and queue; ulimit -n raises it"},
                {"files", int64_t(most_files_)},
                {"connections", int64_t(most)}});
}

void Server::ready(const ModelFacts& facts, int places) {
  if (state_ != State::kLoading) return;
  state_ = State::kReady;
  facts_ = facts;
  clients_.open(facts, places);
  limit_connections(places);
}

void Server::stop(double seconds, std::function<void()> done) {
  state_ = State::kStopping;
  clients_.stop(seconds, std::move(done));
}

// --- Requests -----------------------------------------------------------------------------------------------------

bool Server::allowed(SoupServerMessage* message) {
  const Credentials given = credentials_of(message);
  if (token_allows(options_.tokens, given)) return true;
  set_header(message, "WWW-Authenticate", "Bearer");
  refuse(message, SOUP_STATUS_UNAUTHORIZED, "token",
         "This server wants an access token: Authorization: Bearer TOKEN, or token=TOKEN in the query.");
  return false;
}

void Server::refuse(SoupServerMessage* message, guint status, const char* reason, const std::string& sentence) {
  ++metrics_.refusals[reason];
  log::write(Level::kWarning, "refused",
             {{"text", sentence},
              {"reason", reason},
              {"address", address_of(message)},
              {"status", int64_t(status)},
              {"origin", header_of(message, "Origin")},
              {"host", header_of(message, "Host")}});
  answer_sentence(message, status, sentence);
}

void Server::on_request(SoupServer*, SoupServerMessage* message, const char* path, GHashTable*, gpointer user) {
  auto* self = static_cast<Server*>(user);
  const std::string method = soup_server_message_get_method(message);
  soup_message_headers_remove(soup_server_message_get_request_headers(message), "Range");  // nothing here is long
  if (method != "GET" && method != "HEAD") {
    set_header(message, "Allow", "GET, HEAD");
    return answer_sentence(message, SOUP_STATUS_METHOD_NOT_ALLOWED, "Only GET and HEAD are answered here.");
  }
  const std::string where = path;
  if (where == "/health") return self->answer_health(message);
  if (where == "/metrics") {
    if (self->allowed(message))
      answer_text(message, SOUP_STATUS_OK, "text/plain; version=0.0.4; charset=utf-8", self->metrics_.text());
    return;
  }
  if (where == "/api/info") return self->answer_info(message);
  self->answer_page(message, path);
}

void Server::answer_page(SoupServerMessage* message, const char* path) {
  const auto file = page_.read(path);
  if (!file) {
    return answer_sentence(message, SOUP_STATUS_NOT_FOUND,
                           page_.none() ? "No page is served here; conversations are at /api/chat."
                                        : "There is nothing here; the page is at /.");
  }
  const bool known = header_of(message, "If-None-Match").find(file->tag) != std::string::npos;
  const SharedBytes nothing(g_bytes_new(nullptr, 0));
  set_header(message, "ETag", file->tag.c_str());
  answer(message, known ? SOUP_STATUS_NOT_MODIFIED : SOUP_STATUS_OK, file->type,
         known ? nothing.get() : file->bytes.get(), page_.foreign());
}

void Server::answer_health(SoupServerMessage* message) {
  const char* status = state_ == State::kLoading ? "loading" : state_ == State::kStopping ? "stopping" : "ok";
  if (state_ == State::kReady && clients_.admission()->full()) status = "full";
  Json json = {{"status", status}};
  if (clients_.admission()) json["sessions"] = info()["sessions"];
  answer_json(message, std::string(status) == "ok" ? SOUP_STATUS_OK : SOUP_STATUS_SERVICE_UNAVAILABLE, json);
}

void Server::answer_info(SoupServerMessage* message) {
  if (!allowed(message)) return;
  if (state_ != State::kLoading) return answer_json(message, SOUP_STATUS_OK, info());
  set_header(message, "Retry-After", kRetrySeconds);
  answer_sentence(message, SOUP_STATUS_SERVICE_UNAVAILABLE, kLoadingSentence);
}

Json Server::info() const {
  const auto chosen = [](const auto& option, const auto& own) {
    return option ? Json(*option) : own ? Json(*own) : Json();
  };
  const Sampling &given = options_.sampling, &own = facts_.defaults;
  const SessionLimits& limits = options_.limits;
  const bool there = clients_.admission() != nullptr;
  return {{"model",
           {{"name", facts_.name},
            {"type", facts_.type},
            {"lm_file", facts_.lm_file},
            {"device", facts_.device},
            {"speaks", facts_.speaks},
            {"writes", facts_.writes}}},
          {"defaults",
           {{"text_temperature", chosen(given.text_temperature, own.text_temperature)},
            {"text_topk", chosen(given.text_top_k, own.text_top_k)},
            {"audio_temperature", chosen(given.temperature, own.temperature)},
            {"audio_topk", chosen(given.top_k, own.top_k)}}},
          {"sessions",
           {{"talking", there ? clients_.admission()->talking() : 0},
            {"waiting", there ? clients_.admission()->waiting().size() : 0},
            {"places", there ? clients_.admission()->places() : 0},
            {"queue", options_.queue}}},
          {"limits",
           {{"max_lag_ms", limits.max_lag_seconds * 1000},
            {"session_seconds", limits.session_seconds},
            {"idle_seconds", limits.idle_seconds}}},
          {"version", PACKAGE_VERSION}};
}

// --- Conversations ------------------------------------------------------------------------------------------------

void Server::on_chat(SoupServer*, SoupServerMessage* message, const char* path, GHashTable*, gpointer user) {
  auto* self = static_cast<Server*>(user);
  if (std::string(path) != kChat) return on_request(nullptr, message, path, nullptr, user);
  if (!soup_message_headers_header_contains(soup_server_message_get_request_headers(message), "Upgrade", "websocket")) {
    set_header(message, "Upgrade", "websocket");
    return answer_sentence(message, kUpgradeRequired,
                           "Conversations are WebSockets: open the page, or use moshi-client.");
  }
  GError* raw = nullptr;
  const bool good = soup_websocket_server_check_handshake(message, nullptr, nullptr, nullptr, &raw);
  const app::Error error(raw);
  if (!good) return answer_sentence(message, SOUP_STATUS_BAD_REQUEST, "This is no handshake of a WebSocket.");
  if (!origin_allows(self->options_.origins, credentials_of(message)))
    return self->refuse(message, SOUP_STATUS_FORBIDDEN, "origin",
                        "Pages of this origin may not talk with this server; its --origin lets them.");
  if (!self->allowed(message)) return;
  if (self->state_ == State::kReady) {
    // All other answers close the connection; this one says that it is upgraded.
    soup_message_headers_remove(soup_server_message_get_response_headers(message), "Connection");
    return accept_web_socket(message,
                             [self, message](SoupWebsocketConnection* socket) { self->on_socket(message, socket); });
  }
  const bool loading = self->state_ == State::kLoading;
  set_header(message, "Retry-After", kRetrySeconds);
  self->refuse(message, SOUP_STATUS_SERVICE_UNAVAILABLE, loading ? "loading" : "stopping",
               loading ? kLoadingSentence : "The server stops.");
}

void Server::on_socket(SoupServerMessage* message, SoupWebsocketConnection* socket) {
  connections_->leave_alone(message);
  soup_websocket_connection_set_max_incoming_payload_size(socket, options_.message_bytes);
  clients_.add(socket, address_of(message), query_of(message));
}

}  // namespace

std::unique_ptr<HttpServer> HttpServer::listen(const Options& options, std::string* problem) {
  auto server = std::make_unique<Server>(options);
  return server->start(problem) ? std::move(server) : nullptr;
}

}  // namespace server
