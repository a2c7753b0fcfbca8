// SPDX-License-Identifier: MIT
#include "engine/codec_factory.h"

#include <algorithm>
#include <atomic>

#include "common/error.h"
#include "mimi/packed_codec.h"

namespace moshi::engine {
namespace {

std::atomic<TorchFactory> torch_factory{nullptr};
std::atomic<const char*> torch_version{nullptr};

}  // namespace

bool CodecRequest::wants(mimi::Direction direction) const {
  return std::find(directions.begin(), directions.end(), direction) != directions.end();
}

std::unique_ptr<mimi::Codec> make_codec(const CodecRequest& request) {
  if (request.backend == Backend::kTorch) {
    if (const TorchFactory make = torch_factory) return make(request);
    throw Error(MOSHI_ERR_NOT_SUPPORTED, "backend 2 was asked for, but this core was built without LibTorch");
  }
  if (request.device != "cpu") {
    throw Error(MOSHI_ERR_NOT_SUPPORTED,
                "the packed kernels (backend 1) run on the CPU only, not on " + request.device);
  }
  return mimi::make_packed_codec(request.config, request.tensors, request.wants(mimi::Direction::kEncode),
                                 request.wants(mimi::Direction::kDecode), request.pool, request.progress);
}

bool has_backend(Backend backend) { return backend != Backend::kTorch || torch_factory.load() != nullptr; }

Backend default_backend(const std::string& device) { return device == "cpu" ? Backend::kPacked : Backend::kTorch; }

void register_torch(TorchFactory factory, const char* version) {
  torch_version = version;
  torch_factory = factory;
}

const char* backend_version() {
  const char* version = torch_version;
  return version ? version : "packed kernels only, without LibTorch";
}

}  // namespace moshi::engine
