// SPDX-License-Identifier: MIT
// The one place where the engine meets the backends that compute a codec.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>

#include "kernels/pool.h"
#include "mimi/codec.h"
#include "mimi/config.h"
#include "mimi/weights.h"

namespace moshi::engine {

/// `backend` of MoshiEngineConfig.
enum class Backend : uint32_t { kAuto = 0, kPacked = 1, kTorch = 2 };

struct CodecRequest {
  const mimi::Config& config;
  const mimi::TensorSource& tensors;            ///< not used after the codec is made
  std::span<const mimi::Direction> directions;  ///< what to load
  Backend backend;                              ///< not kAuto
  std::string device;                           ///< "cpu", "cuda:0"
  kernels::Pool& pool;                          ///< outlives the codec; only its calls may use it
  const std::function<void(double)>& progress;  ///< fraction in [0, 1]; an exception from it ends the load

  bool wants(mimi::Direction direction) const;
};

/// Builds the codec of a request. Throws Error; whatever was built until then is freed.
std::unique_ptr<mimi::Codec> make_codec(const CodecRequest& request);

/// Whether a backend is part of this build.
bool has_backend(Backend backend);

/// The backend that Backend::kAuto stands for on a device.
Backend default_backend(const std::string& device);

/// Adds the LibTorch operators, which only the shared library links. `version` is e.g. "LibTorch 2.9.1".
using TorchFactory = std::unique_ptr<mimi::Codec> (*)(const CodecRequest& request);
void register_torch(TorchFactory factory, const char* version);

/// What this build computes with, for people.
const char* backend_version();

}  // namespace moshi::engine
