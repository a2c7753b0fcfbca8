// SPDX-License-Identifier: MIT
// The model of those who name none.
#pragma once

#include <string>

namespace moshi::engine {

struct DefaultModel {
  std::string model;      ///< as the model of a request is named
  bool embedded = false;  ///< it is the one that comes with the core
};

/// What MOSHI_DEFAULT_MODEL names, or else the embedded models. Throws Error(NOT_FOUND), saying where it looked.
DefaultModel default_model();

/// The embedded models that belong to a core in the folder `core`: `embedded` in it, where installed, or
/// `../models/embedded`, in a build tree. Throws as above.
std::string embedded_models(const std::string& core);

}  // namespace moshi::engine
