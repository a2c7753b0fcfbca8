// SPDX-License-Identifier: MIT
#include "engine/session.h"

#include <string>
#include <string_view>
#include <utility>

#include "common/log.h"
#include "engine/environment.h"
#include "engine/errors.h"
#include "engine/executor.h"
#include "engine/lm_session.h"
#include "engine/model.h"

namespace moshi::engine {
namespace {

void check_config(uint32_t engine_roles, const MoshiSessionConfig& config) {
  if (config.roles == 0) invalid("MoshiSessionConfig::roles is 0: name at least one MoshiRole");
  for (const Work work : kWorks) {
    if (config.roles & role_of(work) & ~engine_roles) {
      invalid(std::string("MoshiSessionConfig::roles asks for ") + role_name(work) +
              ", which the engine was not opened for");
    }
  }
  if (config.roles & ~engine_roles) invalid("MoshiSessionConfig::roles has bits that are no MoshiRole");
  const int work_class = raw(config.work_class);
  if (work_class != MOSHI_CLASS_LIVE && work_class != MOSHI_CLASS_FILE) {
    invalid("MoshiSessionConfig::work_class is " + std::to_string(work_class) +
            ": it is MOSHI_CLASS_LIVE or MOSHI_CLASS_FILE");
  }
  if (config.max_sessions < 0) {
    invalid("MoshiSessionConfig::max_sessions is " + std::to_string(config.max_sessions) + ": it is at least 0");
  }
}

/// A place among the model's sessions, given back unless the session is made.
class Place {
 public:
  Place(Model& model, uint32_t roles, int max_sessions) : model_(&model) {
    const int most = roles & MOSHI_ROLE_LM ? max_sessions : 0;
    if (model.enter_session(most)) return;
    throw Error(MOSHI_ERR_BUSY, "the model has " + std::to_string(model.sessions()) +
                                    " sessions open, and max_sessions allows " + std::to_string(most) +
                                    ": close another one first");
  }
  ~Place() {
    if (model_) model_->leave_session();
  }
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;
  void keep() { model_ = nullptr; }

 private:
  Model* model_;
};

const char* session_for(Work work) {
  switch (work) {
    case Work::kEncode:
      return "a session that encodes";
    case Work::kDecode:
      return "a session that decodes";
    case Work::kStep:
      return "a session of a language model";
  }
  return "";
}

/// A session with memory promised and without rows.
std::unique_ptr<Session> bare_session(std::shared_ptr<Model> model, uint32_t roles, MoshiClass work_class) {
  auto session = std::make_unique<Session>();
  session->roles = roles;
  session->work_class = work_class;
  for (const Work work : kWorks) {
    if (!(roles & role_of(work))) continue;
    Track& track = session->track(work);
    track.lane = model->lane(work);
    track.memory = reserve_memory(track.lane->row_bytes(), session_for(work));
  }
  session->model = std::move(model);
  return session;
}

Track clone_track(const Track& from, Track to) {
  if (const lm::Row* row = from.row.lm(); row && row->guidance().active()) {
    const lm::LanguageModel& model = *from.lane->language_model;
    to.guidance_memory = reserve_memory(model.row_bytes(true) - model.row_bytes(false) + from.condition_bytes,
                                        "the guidance of a language model session");
  }
  to.condition_memory = reserve_memory(from.condition_bytes, "the conditions of a language model session");
  to.condition_bytes = from.condition_bytes;
  to.row = from.row.clone();
  to.frames = from.frames;
  to.guided_from = from.guided_from;
  to.damaged = from.damaged;
  return to;
}

}  // namespace

std::unique_ptr<Session> make_session(Engine& engine, const MoshiSessionConfig& config) {
  check_config(engine.roles, config);
  Place place(*engine.model, config.roles, config.max_sessions);
  auto session = bare_session(engine.model, config.roles, config.work_class);
  session->hooks = engine.hooks;
  session->max_sessions = config.max_sessions;
  for (Track& track : session->tracks) {
    if (track.lane) track.row = track.lane->make_row();
  }
  if (const lm::Row* row = session->track(Work::kStep).row.lm()) {
    session->settings = first_settings(session->track(Work::kStep).lane->language_model->config(), config.seed);
    session->settings.guidance = row->guidance();
    session->new_settings = true;
  }
  session->model->executor().open(*session);
  place.keep();
  return session;
}

std::unique_ptr<Session> fork_session(Session& session) {
  require_idle(session, "forked");
  Executor& executor = session.model->executor();
  Place place(*session.model, session.roles, session.max_sessions);
  auto copy = bare_session(session.model, session.roles, session.work_class);
  copy->hooks = session.hooks;
  copy->max_sessions = session.max_sessions;
  for (size_t i = 0; i < session.tracks.size(); ++i) {
    if (session.tracks[i].lane) copy->tracks[i] = clone_track(session.tracks[i], std::move(copy->tracks[i]));
  }
  copy->settings = executor.settings(session);
  copy->new_settings = (session.roles & MOSHI_ROLE_LM) != 0;
  executor.open(*copy);
  place.keep();
  return copy;
}

void reset_session(Session& session) {
  require_idle(session, "reset");
  for (Track& track : session.tracks) {
    if (!track.lane) continue;
    track.row.reset();
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
  session->model->leave_session();
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
  const bool lm = (session.roles & MOSHI_ROLE_LM) != 0;
  if (lm && set_lm_number(session, name, value)) return;
  throw Error(MOSHI_ERR_NOT_SUPPORTED, std::string("session_set(): sessions of this model have no number \"") + name +
                                           "\"; they have \"class\"" +
                                           (lm ? std::string(", ") + lm_numbers() : std::string()));
}

void require_idle(Session& session, const char* what) {
  if (!session.model->executor().idle(session)) {
    throw Error(MOSHI_ERR_BUSY,
                std::string("the session has jobs in flight and cannot be ") + what + ": wait for them or cancel them");
  }
}

uint64_t row_bytes(const Model& model, uint32_t roles) {
  uint64_t bytes = 0;
  for (const Work work : kWorks) {
    if (!(roles & role_of(work))) continue;
    const ModelFacts& facts = model.facts();
    if (const Lane* lane = model.lane(work)) {
      bytes += lane->row_bytes();
    } else if (work == Work::kStep) {
      bytes += environment().lm_row_bytes(facts.lm->config, model.precision() == MOSHI_PRECISION_BF16, false);
    } else {
      bytes += ring_bytes(facts.config);
    }
  }
  return bytes;
}

}  // namespace moshi::engine
