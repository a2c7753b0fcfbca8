// SPDX-License-Identifier: MIT
// The split residual vector quantizer on packed kernels. The semantic codebook and the acoustic ones see the same
// latent through projections of their own; only the acoustic levels are residual.
#pragma once

#include <span>
#include <vector>

#include "mimi/codec.h"
#include "mimi/weights.h"
#include "nn/context.h"
#include "nn/stream_buffer.h"

namespace moshi::mimi {

/// A codebook as the reference derives it: embedding_sum / max(cluster_usage, 1e-5), [bins][dimension].
std::vector<float> read_codebook(const QuantizerConfig& config, const TensorSource& source, int level);

/// Latents to codes: at each level the nearest codebook row, by the largest x . e - |e|^2 / 2, the first of equals.
class QuantizerEncoder {
 public:
  QuantizerEncoder(const QuantizerConfig& config, const TensorSource& source, kernels::Arena& arena);

  /// `latents` holds the frames of all items, one row each.
  void encode(nn::Context& context, nn::StreamBuffer& latents, std::span<const EncodeItem> items);

 private:
  struct Codebook {
    kernels::PackedMatrix rows;         ///< [dimension][bins]
    const float* half_norms = nullptr;  ///< -|e|^2 / 2
  };
  /// A frame of the call and where its codes go.
  struct Frame {
    uint16_t* codes;
    int codebooks;
    float* projected;  ///< semantic half, then the acoustic residual
  };

  void project(nn::Context& context, nn::StreamBuffer& latents);
  void search(nn::Context& context, int level);

  QuantizerConfig config_;
  kernels::PackedMatrix projection_;
  std::vector<Codebook> codebooks_;
  std::vector<Frame> frames_, active_;
  std::vector<float> projected_, scores_;
};

/// Codes to latents.
class QuantizerDecoder {
 public:
  QuantizerDecoder(const QuantizerConfig& config, const TensorSource& source, kernels::Arena& arena);

  /// Writes one row a frame into `latents`.
  void decode(nn::Context& context, std::span<const DecodeItem> items, nn::StreamBuffer& latents);

 private:
  void sum_rows(const uint16_t* codes, int codebooks, float* out) const;

  QuantizerConfig config_;
  kernels::PackedMatrix projection_;
  std::vector<const float*> codebooks_;  ///< [bins][dimension]
  std::vector<float> sums_;
};

}  // namespace moshi::mimi
