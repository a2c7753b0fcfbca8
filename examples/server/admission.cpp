// SPDX-License-Identifier: MIT
#include "admission.h"

#include <algorithm>

namespace server {

Admission::Answer Admission::ask(Session* session) {
  if (full()) return Answer::kRefuse;
  if (taken() < places_) {
    talking_.push_back(session);
    return Answer::kBegin;
  }
  waiting_.push_back(session);
  return Answer::kWait;
}

void Admission::end(Session* session) {
  if (std::erase(talking_, session) > 0) ended_.push_back(session);
}

Session* Admission::leave(Session* session) {
  if (std::erase(waiting_, session) > 0) return nullptr;
  if (std::erase(talking_, session) + std::erase(ended_, session) == 0 || waiting_.empty()) return nullptr;
  Session* next = waiting_.front();
  waiting_.pop_front();
  talking_.push_back(next);
  return next;
}

bool Admission::waits(Session* session) const {
  return std::find(waiting_.begin(), waiting_.end(), session) != waiting_.end();
}

}  // namespace server
