// SPDX-License-Identifier: MIT
#include "engine/scheduler.h"

#include <algorithm>

#include "engine/job.h"

namespace moshi::engine {
namespace {

int64_t deadline_of(const Session* session) {
  return has_deadline(*session->head) ? session->head->deadline_ns : MOSHI_NO_DEADLINE;
}

Lane* lane_of(Session* session) { return session->track_of(session->head->kind)->lane; }

int frames_left(const MoshiJob& job) { return job.frames - job.frames_done; }

}  // namespace

void Scheduler::open_session(MoshiClass work_class) {
  ++open_;
  if (ready_.capacity() < open_) {
    ready_.reserve(2 * open_);
    candidates_.reserve(2 * open_);
  }
  if (work_class == MOSHI_CLASS_LIVE) ++live_open_;
}

void Scheduler::close_session(MoshiClass work_class) {
  --open_;
  if (work_class == MOSHI_CLASS_LIVE) --live_open_;
}

void Scheduler::change_class(Session& session, MoshiClass work_class) {
  if (session.work_class == work_class) return;
  const bool was_ready = session.ready_at != kNotReady;
  if (was_ready) remove(session);
  session.work_class = work_class;
  live_open_ += work_class == MOSHI_CLASS_LIVE ? 1 : -1;
  if (was_ready) add(session);
}

void Scheduler::add(Session& session) {
  session.ready_at = ready_.size();
  session.turn = ++turn_;
  ready_.push_back(&session);
  if (session.work_class == MOSHI_CLASS_LIVE) ++live_ready_;
}

void Scheduler::remove(Session& session) {
  if (session.ready_at == kNotReady) return;
  ready_[session.ready_at] = ready_.back();
  ready_[session.ready_at]->ready_at = session.ready_at;
  ready_.pop_back();
  session.ready_at = kNotReady;
  if (session.work_class == MOSHI_CLASS_LIVE) --live_ready_;
}

bool Scheduler::more_urgent(const Session* a, const Session* b) {
  if (a->work_class != b->work_class) return a->work_class == MOSHI_CLASS_LIVE;
  const int64_t deadline_a = deadline_of(a);
  const int64_t deadline_b = deadline_of(b);
  if (deadline_a != deadline_b) return deadline_a < deadline_b;
  return a->turn < b->turn;
}

bool Scheduler::plan(Batch& batch) {
  if (ready_.empty()) return false;
  Session* first = *std::min_element(ready_.begin(), ready_.end(), more_urgent);
  batch.lane = lane_of(first);
  batch.work_class = first->work_class;

  candidates_.clear();
  for (Session* session : ready_) {
    if (session->work_class == batch.work_class && lane_of(session) == batch.lane) candidates_.push_back(session);
  }
  const size_t rows = most_rows(batch, candidates_.size());
  std::partial_sort(candidates_.begin(), candidates_.begin() + static_cast<ptrdiff_t>(rows), candidates_.end(),
                    more_urgent);
  batch.count = static_cast<int>(rows);
  for (int i = 0; i < batch.count; ++i) {
    Session* session = candidates_[static_cast<size_t>(i)];
    remove(*session);
    batch.entries[static_cast<size_t>(i)] = {session, session->head, session->head->frames_done, 1, 0, false};
  }
  allot_frames(batch);
  return true;
}

int64_t Scheduler::quantum_ns() const { return live_open_ ? kQuantumNs : kAloneQuantumNs; }

size_t Scheduler::most_rows(const Batch& batch, size_t ready) const {
  const size_t rows = std::min<size_t>(ready, kMaxRows);
  if (batch.work_class == MOSHI_CLASS_LIVE || batch.lane->lockstep()) return rows;
  return std::min<size_t>(rows, batch.lane->cost.frames_within(quantum_ns(), kMaxRows));
}

void Scheduler::allot_frames(Batch& batch) const {
  if (batch.lane->lockstep()) {
    const int most = batch.lane->cost.frames_within(quantum_ns(), kMaxFrames);
    for (int i = 0; i < batch.count; ++i) {
      BatchEntry& entry = batch.entries[static_cast<size_t>(i)];
      entry.frames = std::min(frames_left(*entry.job), most);
    }
    return;
  }
  // Every row has one frame; what the quantum has room for beyond that goes round, most urgent first, until it is
  // spent or nobody has more.
  int left = batch.lane->cost.frames_within(quantum_ns(), kMaxRows * kMaxFrames) - batch.count;
  for (bool gave = true; left > 0 && gave;) {
    gave = false;
    const int share = std::max(1, left / batch.count);
    for (int i = 0; i < batch.count && left > 0; ++i) {
      BatchEntry& entry = batch.entries[static_cast<size_t>(i)];
      const int room = std::min(frames_left(*entry.job), kMaxFrames) - entry.frames;
      const int more = std::min({room, share, left});
      if (more <= 0) continue;
      entry.frames += more;
      left -= more;
      gave = true;
    }
  }
}

}  // namespace moshi::engine
