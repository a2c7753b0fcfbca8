// SPDX-License-Identifier: MIT
#include "lm/weights.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "checkpoint/safetensors.h"
#include "common/error.h"
#include "common/log.h"
#include "lm/shapes.h"
#include "lm/stored_tensors.h"
#include "lm/weight_report.h"

namespace moshi::lm {
namespace {

using checkpoint::Dtype;
using checkpoint::SafetensorsFile;

std::optional<Element> element_of(Dtype dtype) {
  switch (dtype) {
    case Dtype::kF32:
      return Element::kF32;
    case Dtype::kBF16:
      return Element::kBf16;
    case Dtype::kF16:
      return Element::kF16;
    case Dtype::kI8:
      return Element::kInt8;
    default:
      return std::nullopt;
  }
}

bool is_float(Dtype dtype) { return dtype != Dtype::kI8 && element_of(dtype).has_value(); }

Matrix matrix_of(const StoredTensor& stored, int64_t rows, int64_t columns) {
  return {*element_of(stored.tensor->dtype), static_cast<int>(rows), static_cast<int>(columns), stored.data().data(),
          nullptr};
}

/// The voice's own codec, which some checkpoints carry along.
bool ignored(const std::string& name) {
  return name.starts_with("condition_provider.conditioners.") && name.find(".compression_model.") != std::string::npos;
}

struct Slot {
  TensorSpec spec;
  StoredTensor stored;
  std::vector<float> row_scale;  // of int8
  StoredTensor down, up;         // of a LoRA, if there
};

class CheckpointWeights final : public Weights {
 public:
  CheckpointWeights(const Config& config, const std::string& path)
      : scaling_(config.lora_scaling), rank_(config.lora_rank), base_(SafetensorsFile::open(path), config) {
    WeightReport report(base_.file(), "the model's configuration");
    std::set<std::string> wanted;
    for (TensorSpec& spec : expected_tensors(config)) add(std::move(spec), wanted, report);
    for (const auto& [name, stored] : base_.all()) {
      if (!wanted.contains(name) && !ignored(name)) report.unexpected(stored.tensor->name);
    }
    report.finish();
    for (auto& [name, slot] : slots_) read_scale(slot);
    if (quantized() == config.quantized) return;
    log(MOSHI_LOG_INFO, "lm",
        "\"" + path + "\" " + (quantized() ? "holds int8 weights" : "holds no int8 weights") +
            ", whatever its configuration says (quantize)");
  }

  void add_lora(const Config& config, const std::string& path) {
    if (quantized()) {
      throw Error(MOSHI_ERR_NOT_SUPPORTED, "\"" + path + "\" cannot be applied to \"" + base_.file().path() +
                                               "\": a LoRA needs weights that are not quantized to int8");
    }
    lora_.emplace(SafetensorsFile::open(path), config);
    WeightReport report(lora_->file(), "\"" + base_.file().path() + "\" as its LoRA");
    std::set<std::string> wanted;
    for (auto& [name, slot] : slots_) add_lora_to(slot, wanted, report);
    for (const auto& [name, stored] : lora_->all()) {
      if (!wanted.contains(name)) report.unexpected(stored.tensor->name);
    }
    if (wanted.empty()) report.missing("lora_A and lora_B of every layer");
    report.finish();
  }

  bool has(const std::string& name) const override { return find(name) != nullptr; }

  Linear linear(const std::string& name) const override {
    const Slot& slot = get(name, TensorKind::kLinear);
    Linear linear;
    linear.weight = matrix_of(slot.stored, slot.spec.rows(), slot.spec.columns());
    if (!slot.row_scale.empty()) linear.weight.row_scale = slot.row_scale.data();
    if (slot.down.tensor) {
      linear.down = matrix_of(slot.down, rank_, slot.spec.columns());
      linear.up = matrix_of(slot.up, slot.spec.rows(), rank_);
      linear.scaling = scaling_;
    }
    return linear;
  }

  std::vector<float> vector(const std::string& name) const override {
    return get(name, TensorKind::kVector).stored.to_f32(base_.file().path());
  }

  Matrix table(const std::string& name) const override {
    const Slot& slot = get(name, TensorKind::kTable);
    return matrix_of(slot.stored, slot.spec.rows(), slot.spec.columns());
  }

  void drop(const Matrix& matrix) const override {
    if (!matrix.data) return;
    checkpoint::Tensor part;
    part.data = {matrix.data, kernels::element_bytes(matrix.element) * static_cast<size_t>(matrix.rows) *
                                  static_cast<size_t>(matrix.columns)};
    // Only the address counts, so it does not matter which of the files drops it.
    base_.file().drop(part);
  }

  uint64_t file_bytes() const override { return base_.file().file_bytes(); }
  std::string sha256(const std::function<void()>& check) const override { return base_.file().sha256(check); }

 private:
  void add(TensorSpec spec, std::set<std::string>& wanted, WeightReport& report) {
    const std::string key = spec.key();
    wanted.insert(key);
    const StoredTensor* const stored = base_.find(key);
    if (!stored) {
      if (!spec.unused) report.missing(key);
      return;
    }
    const checkpoint::Tensor& tensor = *stored->tensor;
    const std::vector<int64_t> shape = stored->whole(spec.shape);
    if (tensor.shape != shape) return report.wrong_shape(tensor.name, tensor.shape, shape);
    if (spec.kind == TensorKind::kLinear && tensor.dtype == Dtype::kI8) {
      check_scale(spec, wanted, report);
    } else if (!is_float(tensor.dtype)) {
      return report.wrong_type(tensor, "F32, F16 or BF16");
    }
    std::string name = spec.name;
    slots_.emplace(std::move(name), Slot{std::move(spec), *stored, {}, {}, {}});
  }

  void check_scale(const TensorSpec& spec, std::set<std::string>& wanted, WeightReport& report) const {
    const std::string key = spec.key() + "_scb";
    wanted.insert(key);
    const StoredTensor* const scale = base_.find(key);
    if (!scale) return report.missing(key);
    const std::vector<int64_t> shape = scale->whole({spec.rows()});
    if (scale->tensor->shape != shape) return report.wrong_shape(scale->tensor->name, scale->tensor->shape, shape);
    if (!is_float(scale->tensor->dtype)) report.wrong_type(*scale->tensor, "F32");
  }

  // A copy: floats in a file may lie at any address.
  void read_scale(Slot& slot) const {
    if (slot.stored.tensor->dtype != Dtype::kI8) return;
    slot.row_scale = base_.find(slot.spec.key() + "_scb")->to_f32(base_.file().path());
  }

  void add_lora_to(Slot& slot, std::set<std::string>& wanted, WeightReport& report) const {
    if (slot.spec.kind != TensorKind::kLinear) return;
    struct Half {
      const char* end;
      StoredTensor& place;
      std::vector<int64_t> shape;
    };
    Half halves[] = {{".lora_A.weight", slot.down, {rank_, slot.spec.columns()}},
                     {".lora_B.weight", slot.up, {slot.spec.rows(), rank_}}};
    const bool any = lora_->find(slot.spec.name + halves[0].end) || lora_->find(slot.spec.name + halves[1].end);
    for (Half& half : halves) {
      const std::string key = slot.spec.name + half.end;
      const StoredTensor* const stored = lora_->find(key);
      if (!stored) {
        if (any) report.missing(key);
        continue;
      }
      wanted.insert(key);
      const checkpoint::Tensor& tensor = *stored->tensor;
      const std::vector<int64_t> shape = stored->whole(half.shape);
      if (tensor.shape != shape) {
        report.wrong_shape(tensor.name, tensor.shape, shape);
      } else if (!is_float(tensor.dtype)) {
        report.wrong_type(tensor, "F32, F16 or BF16");
      } else {
        half.place = *stored;
      }
    }
  }

  bool quantized() const {
    return std::any_of(slots_.begin(), slots_.end(), [](const auto& entry) { return !entry.second.row_scale.empty(); });
  }

  const Slot* find(const std::string& name) const {
    auto it = slots_.find(name);
    if (it == slots_.end()) {
      // Weights per step have an index even where there is only one.
      constexpr std::string_view kGating = ".gating.";
      const size_t at = name.rfind(kGating);
      if (at != std::string::npos) it = slots_.find(std::string(name).insert(at + kGating.size(), "0."));
    }
    return it == slots_.end() ? nullptr : &it->second;
  }

  const Slot& get(const std::string& name, TensorKind kind) const {
    const Slot* const slot = find(name);
    if (slot && slot->spec.kind == kind) return *slot;
    throw Error(MOSHI_ERR_MISMATCH,
                "\"" + base_.file().path() + "\" holds no tensor \"" + name + "\" of the kind that is asked for");
  }

  float scaling_;
  int rank_;
  StoredTensors base_;
  std::optional<StoredTensors> lora_;
  std::map<std::string, Slot> slots_;  // by the name of TensorSpec
};

}  // namespace

std::shared_ptr<const Weights> open_weights(const Config& config, const std::string& path,
                                            const std::string& lora_path) {
  refuse_other_formats(path);
  if (!lora_path.empty()) {
    refuse_other_formats(lora_path);
    if (!config.lora) {
      throw Error(MOSHI_ERR_MISMATCH, "\"" + lora_path +
                                          "\" is a LoRA, but the model's configuration does not say lora: true with "
                                          "its rank and scaling; take the config.json that came with it");
    }
  }
  auto weights = std::make_shared<CheckpointWeights>(config, path);
  if (!lora_path.empty()) {
    weights->add_lora(config, lora_path);
  } else if (config.lora) {
    log(MOSHI_LOG_WARNING, "lm", "\"" + path + "\" is used without the LoRA that its configuration announces");
  }
  return weights;
}

}  // namespace moshi::lm
