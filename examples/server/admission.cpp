// SPDX-License-Identifier: MIT
#include "admission.h"

#include <algorithm>

namespace server {

Admission::Answer Admission::ask(Session* session) {
  if (talking() < places_) {
    talking_.push_back(session);
    return Answer::kBegin;
  }
  if (static_cast<int>(waiting_.size()) >= queue_) return Answer::kRefuse;
  waiting_.push_back(session);
  return Answer::kWait;
}

Session* Admission::leave(Session* session) {
  if (const auto at = std::find(waiting_.begin(), waiting_.end(), session); at != waiting_.end()) {
    waiting_.erase(at);
    return nullptr;
  }
  const auto at = std::find(talking_.begin(), talking_.end(), session);
  if (at == talking_.end()) return nullptr;
  talking_.erase(at);
  if (waiting_.empty()) return nullptr;
  Session* next = waiting_.front();
  waiting_.pop_front();
  talking_.push_back(next);
  return next;
}

bool Admission::waits(Session* session) const {
  return std::find(waiting_.begin(), waiting_.end(), session) != waiting_.end();
}

}  // namespace server
