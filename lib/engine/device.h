// SPDX-License-Identifier: MIT
// Names of compute devices.
#pragma once

#include <string>

namespace moshi::engine {

/// The device that `name` ("", "auto", "cpu", "cuda", "cuda:N") stands for here: "cpu" or "cuda:N". Throws Error:
/// INVALID_ARGUMENT for other names, NO_DEVICE when the device is not there. Only "auto" ever falls back.
std::string resolve_device(const std::string& name);

}  // namespace moshi::engine
