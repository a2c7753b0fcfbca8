// SPDX-License-Identifier: MIT
// How many conversations this machine can carry, measured with the model that was loaded.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "conversation.h"

namespace server {

struct Capacity {
  int sessions = 1;      ///< At least 1.
  double real_time = 0;  ///< How many times faster than real time all went together.
  int together = 0;      ///< How many were measured at once; 0: none was.
};

/// Talks with 1, 2, 4, ... conversations at once, as fast as they go and a quarter of a second each, until not all of
/// them would go in real time with room of one half, or there are 64, or no more fit into memory. `done` is called on
/// the default GMainContext: a capacity, or nothing and a sentence. The probe may be destroyed in it; destroying it
/// sooner stops the measurement.
class CapacityProbe {
 public:
  using Done = std::function<void(const Capacity* capacity, std::string problem)>;
  static std::unique_ptr<CapacityProbe> run(const Model& model, Done done);
  virtual ~CapacityProbe() = default;
};

}  // namespace server
