// SPDX-License-Identifier: MIT
#include "mimi/residual_quantizer.h"

#include <algorithm>
#include <string>

namespace moshi::mimi {
namespace {

std::string codebook_name(int level) {
  const std::string branch = level == 0 ? "rvq_first.vq.layers.0" : "rvq_rest.vq.layers." + std::to_string(level - 1);
  return "quantizer." + branch + "._codebook.";
}

bool has_acoustic(const QuantizerConfig& config) { return config.n_q > 1; }

}  // namespace

std::vector<float> read_codebook(const QuantizerConfig& config, const TensorSource& source, int level) {
  std::vector<float> rows = source.read(codebook_name(level) + "embedding_sum");
  const std::vector<float> usage = source.read(codebook_name(level) + "cluster_usage");
  for (int bin = 0; bin < config.bins; ++bin) {
    const float count = std::max(usage[bin], 1e-5f);
    float* row = &rows[static_cast<size_t>(bin) * config.dimension];
    for (int i = 0; i < config.dimension; ++i) row[i] /= count;
  }
  return rows;
}

QuantizerEncoder::QuantizerEncoder(const QuantizerConfig& config, const TensorSource& source, kernels::Arena& arena)
    : config_(config) {
  const int in = config.input_dimension;
  const int width = config.dimension;
  const std::vector<float> first = source.read("quantizer.rvq_first.input_proj.weight");
  const std::vector<float> rest =
      has_acoustic(config) ? source.read("quantizer.rvq_rest.input_proj.weight") : std::vector<float>(first.size());
  projection_ = kernels::pack(arena, in, 2 * width, [&](int k, int n) {
    return n < width ? first[static_cast<size_t>(n) * in + k] : rest[static_cast<size_t>(n - width) * in + k];
  });
  for (int level = 0; level < config.n_q; ++level) {
    const std::vector<float> rows = read_codebook(config, source, level);
    Codebook codebook;
    codebook.rows = kernels::pack(arena, width, config.bins,
                                  [&](int k, int n) { return rows[static_cast<size_t>(n) * width + k]; });
    codebook.half_norms = kernels::pack_vector(arena, config.bins, [&](int n) {
      double norm = 0;
      for (int i = 0; i < width; ++i) {
        const double value = rows[static_cast<size_t>(n) * width + i];
        norm += value * value;
      }
      return static_cast<float>(-0.5 * norm);
    });
    codebooks_.push_back(codebook);
  }
}

void QuantizerEncoder::project(nn::Context& context, nn::StreamBuffer& latents) {
  const int rows = latents.total_rows();
  nn::grow(projected_, static_cast<size_t>(rows) * 2 * config_.dimension);
  nn::RowLists& lists = context.rows;
  lists.a.clear();
  lists.out.clear();
  for (int row = 0; row < rows; ++row) {
    lists.a.push_back(latents.data() + static_cast<size_t>(row) * latents.channels());
    lists.out.push_back(&projected_[static_cast<size_t>(row) * 2 * config_.dimension]);
  }
  kernels::run_gemm(context.pool, context.kernels,
                    {.rows = rows, .a = lists.a.data(), .b = projection_, .out = lists.out.data()});
}

void QuantizerEncoder::search(nn::Context& context, int level) {
  const int width = config_.dimension;
  const Codebook& codebook = codebooks_[level];
  const auto rows = static_cast<int>(active_.size());
  nn::grow(scores_, static_cast<size_t>(rows) * config_.bins);
  nn::RowLists& lists = context.rows;
  lists.a.clear();
  lists.out.clear();
  for (int row = 0; row < rows; ++row) {
    lists.a.push_back(active_[row].projected + (level > 0 ? width : 0));
    lists.out.push_back(&scores_[static_cast<size_t>(row) * config_.bins]);
  }
  kernels::run_gemm(
      context.pool, context.kernels,
      {.rows = rows, .a = lists.a.data(), .b = codebook.rows, .bias = codebook.half_norms, .out = lists.out.data()});
  context.pool.run(rows, [&](int row) {
    const int code = context.kernels.argmax(&scores_[static_cast<size_t>(row) * config_.bins], config_.bins);
    const Frame& frame = active_[row];
    frame.codes[level] = static_cast<uint16_t>(code);
    if (level == 0 || level + 1 >= frame.codebooks) return;
    kernels::subtract_column(codebook.rows, code, frame.projected + width);
  });
}

void QuantizerEncoder::encode(nn::Context& context, nn::StreamBuffer& latents, std::span<const EncodeItem> items) {
  project(context, latents);
  frames_.clear();
  int most = 0;
  int row = 0;
  for (const EncodeItem& item : items) {
    most = std::max(most, item.codebooks);
    for (int frame = 0; frame < item.frames; ++frame, ++row) {
      frames_.push_back({item.codes + static_cast<size_t>(frame) * item.codebooks, item.codebooks,
                         &projected_[static_cast<size_t>(row) * 2 * config_.dimension]});
    }
  }
  for (int level = 0; level < most; ++level) {
    active_.clear();
    std::copy_if(frames_.begin(), frames_.end(), std::back_inserter(active_),
                 [&](const Frame& frame) { return frame.codebooks > level; });
    search(context, level);
  }
}

QuantizerDecoder::QuantizerDecoder(const QuantizerConfig& config, const TensorSource& source, kernels::Arena& arena)
    : config_(config) {
  const int width = config.dimension;
  for (int level = 0; level < config.n_q; ++level) {
    const std::vector<float> rows = read_codebook(config, source, level);
    float* table = arena.floats(rows.size());
    std::copy(rows.begin(), rows.end(), table);
    codebooks_.push_back(table);
  }
  const std::vector<float> first = source.read("quantizer.rvq_first.output_proj.weight");
  const std::vector<float> rest =
      has_acoustic(config) ? source.read("quantizer.rvq_rest.output_proj.weight") : std::vector<float>(first.size());
  projection_ = kernels::pack(arena, 2 * width, config.output_dimension, [&](int k, int n) {
    return k < width ? first[static_cast<size_t>(n) * width + k] : rest[static_cast<size_t>(n) * width + k - width];
  });
}

void QuantizerDecoder::sum_rows(const uint16_t* codes, int codebooks, float* out) const {
  const int width = config_.dimension;
  const float* semantic = codebooks_[0] + static_cast<size_t>(codes[0]) * width;
  std::copy_n(semantic, width, out);
  float* acoustic = out + width;
  std::fill_n(acoustic, width, 0.0f);
  for (int level = 1; level < codebooks; ++level) {
    const float* row = codebooks_[level] + static_cast<size_t>(codes[level]) * width;
    for (int i = 0; i < width; ++i) acoustic[i] += row[i];
  }
}

void QuantizerDecoder::decode(nn::Context& context, std::span<const DecodeItem> items, nn::StreamBuffer& latents) {
  const size_t width = 2 * static_cast<size_t>(config_.dimension);
  nn::grow(sums_, latents.total_rows() * width);
  nn::RowLists& lists = context.rows;
  lists.a.clear();
  lists.out.clear();
  size_t row = 0;
  for (size_t i = 0; i < items.size(); ++i) {
    const DecodeItem& item = items[i];
    for (int frame = 0; frame < item.frames; ++frame, ++row) {
      sum_rows(item.codes + static_cast<size_t>(frame) * item.codebooks, item.codebooks, &sums_[row * width]);
      lists.a.push_back(&sums_[row * width]);
      lists.out.push_back(latents.row(static_cast<int>(i), frame));
    }
  }
  kernels::run_gemm(context.pool, context.kernels,
                    {.rows = static_cast<int>(row), .a = lists.a.data(), .b = projection_, .out = lists.out.data()});
}

}  // namespace moshi::mimi
