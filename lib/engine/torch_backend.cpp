// SPDX-License-Identifier: MIT
#include "engine/torch_backend.h"

#include <torch/version.h>

#include "engine/codec_factory.h"
#include "mimi/torch_codec.h"
#include "nn/rope_frequencies.h"
#include "nn/torch_exponential.h"

namespace moshi::engine {
namespace {

std::unique_ptr<mimi::Codec> make(const CodecRequest& request) {
  return mimi::make_torch_codec(request.config, request.tensors, request.device,
                                request.wants(mimi::Direction::kEncode), request.wants(mimi::Direction::kDecode),
                                request.progress);
}

}  // namespace

void add_torch_backend() {
  register_torch(make, "LibTorch " TORCH_VERSION);
  nn::set_exponential(nn::torch_exponential);
}

}  // namespace moshi::engine
