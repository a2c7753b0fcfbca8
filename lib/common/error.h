// SPDX-License-Identifier: MIT
// The exception that carries a MoshiStatus through the core; turned into a MoshiError at the C boundary.
#pragma once

#include <stdexcept>
#include <string>
#include <utility>

#include "moshi/core.h"

namespace moshi {

/// A failure with a sentence for people (`what()`) and an optional detail for whoever debugs.
class Error : public std::runtime_error {
 public:
  Error(MoshiStatus status, const std::string& message, std::string detail = {})
      : std::runtime_error(message), status_(status), detail_(std::move(detail)) {}
  MoshiStatus status() const { return status_; }
  const std::string& detail() const { return detail_; }

 private:
  MoshiStatus status_;
  std::string detail_;
};

}  // namespace moshi
