// SPDX-License-Identifier: MIT
#include "engine/session.h"

#include <string>
#include <string_view>
#include <utility>

#include "common/log.h"
#include "engine/errors.h"
#include "engine/executor.h"
#include "engine/model.h"

namespace moshi::engine {
namespace {

constexpr mimi::Direction kDirections[] = {mimi::Direction::kEncode, mimi::Direction::kDecode};

void check_config(uint32_t engine_roles, const MoshiSessionConfig& config) {
  if (config.roles == 0) invalid("MoshiSessionConfig::roles is 0: name at least one MoshiRole");
  for (const mimi::Direction direction : kDirections) {
    if (config.roles & role_of(direction) & ~engine_roles) {
      invalid(std::string("MoshiSessionConfig::roles asks for ") + role_name(direction) +
              ", which the engine was not opened for");
    }
  }
  if (config.roles & ~static_cast<uint32_t>(MOSHI_ROLE_ENCODE | MOSHI_ROLE_DECODE)) {
    throw Error(MOSHI_ERR_NOT_SUPPORTED,
                "this core has no language model sessions: MoshiSessionConfig::roles can be "
                "MOSHI_ROLE_ENCODE and MOSHI_ROLE_DECODE");
  }
  const int work_class = raw(config.work_class);
  if (work_class != MOSHI_CLASS_LIVE && work_class != MOSHI_CLASS_FILE) {
    invalid("MoshiSessionConfig::work_class is " + std::to_string(work_class) +
            ": it is MOSHI_CLASS_LIVE or MOSHI_CLASS_FILE");
  }
}

/// A session without rows, known to the executor.
std::unique_ptr<Session> enter(std::unique_ptr<Session> session) {
  session->model->executor().open(*session);
  session->model->count_session(1);
  return session;
}

std::unique_ptr<Session> bare_session(std::shared_ptr<Model> model, uint32_t roles, MoshiClass work_class) {
  auto session = std::make_unique<Session>();
  session->roles = roles;
  session->work_class = work_class;
  for (const mimi::Direction direction : kDirections) {
    if (!(roles & role_of(direction))) continue;
    Track& track = session->track(direction);
    track.lane = model->lane(direction);
    track.memory = reserve_memory(
        track.lane->codec->row_bytes(direction),
        std::string("a session that ") + (direction == mimi::Direction::kEncode ? "en" : "de") + "codes");
  }
  session->model = std::move(model);
  return session;
}

}  // namespace

std::unique_ptr<Session> make_session(std::shared_ptr<Model> model, uint32_t engine_roles,
                                      const MoshiSessionConfig& config) {
  check_config(engine_roles, config);
  auto session = bare_session(std::move(model), config.roles, config.work_class);
  for (const mimi::Direction direction : kDirections) {
    Track& track = session->track(direction);
    if (track.lane) track.row = track.lane->codec->make_row(direction);
  }
  return enter(std::move(session));
}

std::unique_ptr<Session> fork_session(Session& session) {
  require_idle(session, "forked");
  auto copy = bare_session(session.model, session.roles, session.work_class);
  for (size_t i = 0; i < session.tracks.size(); ++i) {
    if (!session.tracks[i].lane) continue;
    copy->tracks[i].row = session.tracks[i].row->clone();
    copy->tracks[i].frames = session.tracks[i].frames;
    copy->tracks[i].damaged = session.tracks[i].damaged;
  }
  return enter(std::move(copy));
}

void reset_session(Session& session) {
  require_idle(session, "reset");
  for (Track& track : session.tracks) {
    if (!track.lane) continue;
    track.row->reset();
    track.damaged = false;
  }
}

void close_session(std::unique_ptr<Session> session) {
  Executor& executor = session->model->executor();
  if (executor.on_own_thread()) {
    log(MOSHI_LOG_ERROR, "engine", "session_close() was called from a completion callback: the session is not closed");
    static_cast<void>(session.release());
    return;
  }
  executor.close(*session);
  session->model->count_session(-1);
}

void set_session_number(Session& session, const char* name, double value) {
  if (!name) invalid("session_set(): the name is NULL");
  if (std::string_view(name) == "class") {
    if (value != static_cast<double>(MOSHI_CLASS_LIVE) && value != static_cast<double>(MOSHI_CLASS_FILE)) {
      invalid("session_set(\"class\", " + std::to_string(value) +
              "): the value is MOSHI_CLASS_LIVE or MOSHI_CLASS_FILE");
    }
    session.model->executor().set_class(session, static_cast<MoshiClass>(static_cast<int>(value)));
    return;
  }
  throw Error(MOSHI_ERR_NOT_SUPPORTED,
              std::string("session_set(): sessions of this core have no number \"") + name + "\"; they have \"class\"");
}

void require_idle(Session& session, const char* what) {
  if (!session.model->executor().idle(session)) {
    throw Error(MOSHI_ERR_BUSY,
                std::string("the session has jobs in flight and cannot be ") + what + ": wait for them or cancel them");
  }
}

uint64_t row_bytes(const Model& model, uint32_t roles) {
  uint64_t bytes = 0;
  for (const mimi::Direction direction : kDirections) {
    if (!(roles & role_of(direction))) continue;
    const Lane* lane = model.lane(direction);
    bytes += lane ? lane->codec->row_bytes(direction) : ring_bytes(model.facts().config);
  }
  return bytes;
}

}  // namespace moshi::engine
