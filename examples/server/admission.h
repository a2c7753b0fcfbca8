// SPDX-License-Identifier: MIT
// Who may talk, who waits, who is refused. Knows nothing of sockets: what waits is any pointer.
#pragma once

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
  /// One that was taken in is gone, from a place or from the queue. Returns the one whose turn it is now, or null; it
  /// has a place already.
  Session* leave(Session* session);

  bool waits(Session* session) const;
  const std::deque<Session*>& waiting() const { return waiting_; }
  bool full() const { return talking() >= places_ && static_cast<int>(waiting_.size()) >= queue_; }
  int talking() const { return static_cast<int>(talking_.size()); }
  int places() const { return places_; }
  int queue() const { return queue_; }

 private:
  int places_, queue_;
  std::vector<Session*> talking_;
  std::deque<Session*> waiting_;
};

}  // namespace server
