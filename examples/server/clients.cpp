// SPDX-License-Identifier: MIT
#include "clients.h"

#include <utility>
#include <vector>

#include "log.h"
#include "reaper.h"

namespace server {
namespace {

using log::Level;

constexpr double kClosingSeconds = 3;  // for clients to take their leave
constexpr const char* kStopping = "The server stops.";

}  // namespace

Clients::~Clients() {
  if (timer_) g_source_remove(timer_);
}

void Clients::open(const ModelFacts& facts, int places) {
  facts_ = facts;
  admission_.emplace(places, options_.queue);
  count();
}

void Clients::add(SoupWebsocketConnection* socket, const std::string& address, const Query& query) {
  ++metrics_->connections;
  std::string problem;
  const auto settings = parse_query(query, options_.sampling, &problem);
  auto made =
      Session::make(socket, {std::to_string(++last_id_), address}, settings.value_or(Settings()), options_.limits,
                    metrics_, [this](Session* session, const std::string& reason) { on_ended(session, reason); });
  Session* session = made.get();
  clients_[session] = {std::move(made), g_get_monotonic_time()};
  if (stopping_) return refuse(session, wire::Close::kGoingAway, kStopping, "stopping");
  if (!settings) return refuse(session, wire::Close::kPolicy, problem, "query");
  admit(session);
}

void Clients::refuse(Session* session, wire::Close code, const std::string& sentence, const char* reason) {
  ++metrics_->refusals[reason];
  log::write(Level::kWarning, "refused",
             {{"text", sentence}, {"reason", reason}, {"address", session->peer().address}});
  session->end(code, sentence, reason);
}

void Clients::admit(Session* session) {
  const Session::Peer& peer = session->peer();
  const Admission::Answer answer = admission_->ask(session);
  if (answer == Admission::Answer::kRefuse)
    return refuse(session, wire::Close::kTryLater, "All places are taken, and so is the queue: try again later.",
                  "full");
  clients_[session].taken = true;
  count();
  if (answer == Admission::Answer::kBegin) return begin(session);
  const auto place = static_cast<int64_t>(admission_->waiting().size());
  log::write(Level::kInfo, "session-wait", {{"id", peer.id}, {"address", peer.address}, {"place", place}});
  tell_places();
}

void Clients::begin(Session* session) {
  const Session::Peer& peer = session->peer();
  log::write(Level::kInfo, "session-start", {{"id", peer.id}, {"address", peer.address}});
  session->begin(options_.model, facts_);
}

// A place is free when its pipeline has stopped: until then the model may have no room for another. Who has only waited
// holds none.
void Clients::on_ended(Session* session, const std::string& reason) {
  auto client = clients_.extract(session);
  if (client.mapped().taken) {
    log_end(client.mapped(), reason);
    if (admission_->waits(session)) {
      leave(session);
    } else {
      admission_->end(session);
      count();
      leaving_.insert(std::move(client));
      reaper::after([this, alive = std::weak_ptr(alive_), session] {
        if (alive.lock()) leave(session);
      });
    }
  }
  check_stopped();
}

void Clients::leave(Session* session) {
  const size_t waited = admission_->waiting().size();
  Session* next = admission_->leave(session);
  leaving_.erase(session);  // not sooner: its address is its name
  count();
  if (stopping_) return;
  if (next) begin(next);
  if (admission_->waiting().size() != waited) tell_places();
}

void Clients::log_end(const Client& client, const std::string& reason) {
  const Session& session = *client.session;
  const ConversationStats stats = session.stats();
  ++metrics_->ends[reason];
  log::write(Level::kInfo, "session-end",
             {{"id", session.peer().id},
              {"address", session.peer().address},
              {"reason", reason},
              {"seconds", static_cast<double>(g_get_monotonic_time() - client.came) / G_USEC_PER_SEC},
              {"frames", static_cast<int64_t>(stats.frames_out)},
              {"dropped", static_cast<int64_t>(stats.dropped_frames)},
              {"delay_p50_ms", session.frame_delay(0.5) * 1000},
              {"delay_p99_ms", session.frame_delay(0.99) * 1000}});
}

void Clients::tell_places() {
  const auto waiting = admission_->waiting();
  for (size_t i = 0; i < waiting.size(); ++i)
    waiting[i]->wait(static_cast<int>(i) + 1, static_cast<int>(waiting.size()));
}

void Clients::count() {
  metrics_->active = admission_->talking();
  metrics_->queued = static_cast<int>(admission_->waiting().size());
  metrics_->capacity = admission_->places();
}

// --- The end ------------------------------------------------------------------------------------------------------

void Clients::stop(double seconds, std::function<void()> done) {
  if (done) stopped_ = std::move(done);
  if (std::exchange(stopping_, true) || seconds <= 0) return end_all();
  if (admission_) {
    for (Session* session : std::deque(admission_->waiting()))
      session->end(wire::Close::kGoingAway, kStopping, "stopping");
  }
  set_timer(seconds);
  check_stopped();
}

// The first time everybody is asked to go; the second time nobody is asked.
void Clients::end_all() {
  if (std::exchange(ending_, true)) {
    clients_.clear();
    return check_stopped();
  }
  for (const auto& [session, client] : clients_) session->end(wire::Close::kGoingAway, kStopping, "stopping");
  set_timer(kClosingSeconds);
  check_stopped();
}

void Clients::check_stopped() {
  if (!stopping_ || !clients_.empty() || !stopped_) return;
  set_timer(0);
  std::exchange(stopped_, nullptr)();
}

void Clients::set_timer(double seconds) {
  if (timer_) g_source_remove(timer_);
  timer_ = seconds > 0 ? g_timeout_add(static_cast<guint>(seconds * 1000), on_time, this) : 0;
}

gboolean Clients::on_time(gpointer user) {
  auto* self = static_cast<Clients*>(user);
  self->timer_ = 0;
  self->end_all();
  return G_SOURCE_REMOVE;
}

}  // namespace server
