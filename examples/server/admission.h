// SPDX-License-Identifier: MIT
// Who may talk, who waits, who is refused. Knows nothing of sockets: what waits is any pointer.
#pragma once

#include <cstddef>
#include <deque>
#include <vector>

namespace server {

class Session;

class Admission {
 public:
  enum class Answer { kBegin, kWait, kRefuse };

  Admission(int places, int queue) : places_(places), queue_(queue) {}

  /// Takes a session in, unless the answer is kRefuse.
  Answer ask(Session* session);
  /// One that talks has ended, and holds its place until it leaves: who comes meanwhile waits for it, even beyond the
  /// queue's length.
  void end(Session* session);
  /// One that was taken in is gone, from a place or from the queue. Returns the one whose turn it is now, or null; it
  /// has a place already.
  Session* leave(Session* session);

  bool waits(Session* session) const;
  const std::deque<Session*>& waiting() const { return waiting_; }
  bool full() const { return taken() >= places_ && waiting_.size() >= static_cast<size_t>(queue_) + ended_.size(); }
  int talking() const { return static_cast<int>(talking_.size()); }
  int places() const { return places_; }

 private:
  int taken() const { return static_cast<int>(talking_.size() + ended_.size()); }

  int places_, queue_;
  std::vector<Session*> talking_, ended_;
  std::deque<Session*> waiting_;
};

}  // namespace server
