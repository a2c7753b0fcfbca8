// SPDX-License-Identifier: MIT
// Part of moshi/core.hpp: whole recordings, and batches of streams in lockstep.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "moshi/core.hpp"

namespace moshi::core {

/// A recording as codes.
struct Codes {
  int codebooks = 0;
  size_t samples = 0;          ///< of the recording; the last frame may be padded beyond
  std::vector<uint16_t> data;  ///< frames * codebooks, frame-major

  size_t frames() const { return codebooks ? data.size() / static_cast<size_t>(codebooks) : 0; }
};

/// Encodes a whole recording as a file job, the last frame padded with zeros.
inline Result<Codes> encode_all(const Engine& engine, std::span<const float> pcm, int codebooks) {
  auto info = engine.info();
  if (!info) return info.error();
  if (codebooks < 1 || codebooks > info->codebooks) {
    return detail::wrong("codebooks is " + std::to_string(codebooks) + ": this model takes 1 to " +
                         std::to_string(info->codebooks));
  }
  Codes codes{codebooks, pcm.size(), {}};
  if (pcm.empty()) return codes;
  auto session = engine.session({.roles = MOSHI_ROLE_ENCODE, .work_class = MOSHI_CLASS_FILE});
  if (!session) return session.error();
  const auto width = static_cast<size_t>(info->frame_samples);
  const size_t whole = pcm.size() / width;
  const size_t frames = (pcm.size() + width - 1) / width;
  codes.data.resize(frames * static_cast<size_t>(codebooks));
  const std::span<uint16_t> out(codes.data);
  if (whole > 0) {
    if (auto done = session->encode(pcm.first(whole * width), codebooks, out); !done) return done.error();
  }
  if (frames > whole) {
    std::vector<float> last(width);
    std::copy(pcm.begin() + static_cast<ptrdiff_t>(whole * width), pcm.end(), last.begin());
    const auto rest = out.subspan(whole * static_cast<size_t>(codebooks));
    if (auto done = session->encode(last, codebooks, rest); !done) return done.error();
  }
  return codes;
}

/// Decodes a whole recording as a file job; gives as many samples as were encoded.
inline Result<std::vector<float>> decode_all(const Engine& engine, const Codes& codes) {
  auto info = engine.info();
  if (!info) return info.error();
  std::vector<float> pcm(codes.frames() * static_cast<size_t>(info->frame_samples));
  if (pcm.empty()) return pcm;
  auto session = engine.session({.roles = MOSHI_ROLE_DECODE, .work_class = MOSHI_CLASS_FILE});
  if (!session) return session.error();
  if (auto done = session->decode(codes.data, codes.codebooks, pcm); !done) return done.error();
  if (codes.samples < pcm.size()) pcm.resize(codes.samples);
  return pcm;
}

/// Several streams in lockstep, one frame each per step, as rows of one batch; a mask says which rows take part. A row
/// that does not keeps its state and costs nothing. (Streams that need no lockstep are better off as plain sessions.)
class Batch {
 public:
  static Result<Batch> open(const Engine& engine, int rows, SessionOptions options = {}) {
    auto info = engine.info();
    if (!info) return info.error();
    Batch batch(static_cast<size_t>(info->frame_samples));
    for (int row = 0; row < rows; ++row) {
      auto session = engine.session(options);
      if (!session) return session.error();
      batch.sessions_.push_back(std::move(*session));
    }
    return batch;
  }

  size_t rows() const { return sessions_.size(); }
  Session& row(size_t index) { return sessions_[index]; }

  /// One frame of each row that `mask` names (empty: all). `pcm`: rows * frame_samples, `codes`: rows * codebooks;
  /// those of other rows are neither read nor written.
  Result<void> encode(std::span<const float> pcm, std::span<const bool> mask, int codebooks,
                      std::span<uint16_t> codes) {
    const auto width = static_cast<size_t>(std::max(codebooks, 0));
    if (auto fits = check(mask, pcm.size(), frame_samples_, codes.size(), width); !fits) return fits;
    return step(mask, [&](size_t row) {
      return sessions_[row].submit_encode(pcm.subspan(row * frame_samples_, frame_samples_), codebooks,
                                          codes.subspan(row * width, width));
    });
  }
  Result<void> decode(std::span<const uint16_t> codes, std::span<const bool> mask, int codebooks,
                      std::span<float> pcm) {
    const auto width = static_cast<size_t>(std::max(codebooks, 0));
    if (auto fits = check(mask, codes.size(), width, pcm.size(), frame_samples_); !fits) return fits;
    return step(mask, [&](size_t row) {
      return sessions_[row].submit_decode(codes.subspan(row * width, width), codebooks,
                                          pcm.subspan(row * frame_samples_, frame_samples_));
    });
  }

  /// Resets the rows that `mask` names (empty: all) and no others.
  Result<void> reset(std::span<const bool> mask = {}) {
    if (!mask.empty() && mask.size() != rows()) return wrong_mask(mask);
    for (size_t row = 0; row < rows(); ++row) {
      if (!takes_part(mask, row)) continue;
      if (auto done = sessions_[row].reset(); !done) return done;
    }
    return {};
  }

 private:
  explicit Batch(size_t frame_samples) : frame_samples_(frame_samples) {}

  static bool takes_part(std::span<const bool> mask, size_t row) { return mask.empty() || mask[row]; }
  Error wrong_mask(std::span<const bool> mask) const {
    return detail::wrong("the mask has " + std::to_string(mask.size()) + " elements, the batch " +
                         std::to_string(rows()) + " rows");
  }
  Result<void> check(std::span<const bool> mask, size_t in, size_t in_width, size_t out, size_t out_width) const {
    if (!mask.empty() && mask.size() != rows()) return wrong_mask(mask);
    if (in == rows() * in_width && out == rows() * out_width) return {};
    return detail::wrong("a batch of " + std::to_string(rows()) + " rows takes spans of " +
                         std::to_string(rows() * in_width) + " and " + std::to_string(rows() * out_width) +
                         " elements, not " + std::to_string(in) + " and " + std::to_string(out));
  }

  template <class Submit>
  Result<void> step(std::span<const bool> mask, Submit submit) {
    std::vector<Pending> pending;
    Result<void> result;
    for (size_t row = 0; row < rows() && result; ++row) {
      if (!takes_part(mask, row)) continue;
      auto submitted = submit(row);
      if (submitted) {
        pending.push_back(std::move(*submitted));
      } else {
        result = submitted.error();
      }
    }
    for (Pending& one : pending) {
      if (auto done = one.wait(); !done && result) result = done;
    }
    return result;
  }

  size_t frame_samples_;
  std::vector<Session> sessions_;
};

}  // namespace moshi::core
