// SPDX-License-Identifier: MIT
// The tensors of a Mimi from a safetensors file, in all the spellings that such files have.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "checkpoint/safetensors.h"
#include "mimi/config.h"
#include "mimi/weights.h"

namespace moshi::mimi {

/// Accepts, besides the canonical names: fused attention (`self_attn.in_proj_weight`, `self_attn.out_proj.weight`),
/// old codebook names (`inited`, `cluster_size`, `embed_avg`, `embed_sum`) and weight normalization (`weight_g` with
/// `weight_v`, folded when read).
class CheckpointWeights final : public TensorSource {
 public:
  /// Compares names and shapes with what `config` demands; reads no data. Throws Error(MISMATCH) that counts and names
  /// what is missing, unexpected or of another shape, and NOT_SUPPORTED for tensors of integers.
  CheckpointWeights(std::shared_ptr<const checkpoint::SafetensorsFile> file, const Config& config);

  /// Each tensor is meant to be read once: its pages are given back at once, so that whoever packs tensor by tensor
  /// never has more than one in memory. Throws Error(FORMAT) when it holds NaN or infinity. Thread-safe.
  std::vector<float> read(const std::string& name) const override;

  const checkpoint::SafetensorsFile& file() const { return *file_; }

 private:
  struct Entry {
    const checkpoint::Tensor* tensor = nullptr;
    const checkpoint::Tensor* gain = nullptr;  // of weight normalization; null without
  };

  void collect();
  std::vector<float> fold(const Entry& entry) const;

  std::shared_ptr<const checkpoint::SafetensorsFile> file_;
  std::map<std::string, Entry, std::less<>> entries_;  // by canonical name
};

/// A checkpoint whose headers fit its configuration.
struct CheckpointMimi {
  Config config;
  std::shared_ptr<const checkpoint::SafetensorsFile> file;
  std::shared_ptr<const CheckpointWeights> weights;
};

/// Opens a weight file with its configuration file. Without one (""), the model is Kyutai's published Mimi with as
/// many codebooks as the file has (those made for voices have 16). Reads headers only.
CheckpointMimi open_checkpoint(const std::string& weights_path, const std::string& config_path);

}  // namespace moshi::mimi
