// SPDX-License-Identifier: MIT
#include "lm/conditioning.h"

#include <algorithm>

#include "checkpoint/digest.h"
#include "common/error.h"
#include "nn/rope.h"

namespace moshi::lm {
namespace {

[[noreturn]] void refuse(const std::string& sentence) { throw Error(MOSHI_ERR_INVALID_ARGUMENT, sentence); }

/// The SHA-256 of the text as a number, modulo `bins`: the row of a table whose values are not listed.
int hashed_row(const std::string& text, int bins) {
  checkpoint::Digest hash(checkpoint::Digest::Kind::kSha256);
  hash.add(std::as_bytes(std::span(text)));
  int64_t row = 0;
  for (const char digit : hash.hex()) {
    const int value = digit <= '9' ? digit - '0' : digit - 'a' + 10;
    row = (row * 16 + value) % bins;
  }
  return static_cast<int>(row);
}

int table_row(const ConditionerShape& shape, const std::string& text) {
  if (shape.values.empty()) return hashed_row(text, shape.bins);
  return static_cast<int>(std::find(shape.values.begin(), shape.values.end(), text) - shape.values.begin());
}

std::string quoted_list(const std::vector<std::string>& values) {
  std::string list;
  for (const std::string& value : values) list += (list.empty() ? "\"" : ", \"") + value + "\"";
  return list;
}

const Condition* find(std::span<const Condition> conditions, const std::string& name, bool negative) {
  for (const Condition& condition : conditions) {
    if (condition.name == name && condition.negative == negative) return condition.absent ? nullptr : &condition;
  }
  return nullptr;
}

}  // namespace

void Conditioning::load(const Config& config, LayerLoader& loader) {
  dim_ = config.temporal.dim;
  fuser_ = config.fuser;
  for (const auto& [name, shape] : config.conditioners) {
    const std::string prefix = "condition_provider.conditioners." + name;
    Conditioner conditioner;
    conditioner.shape = shape;
    if (shape.table) conditioner.table = loader.table(prefix + ".embed");
    if (shape.projected) conditioner.projection.load(loader, prefix + ".output_proj");
    if (shape.learnt_padding) conditioner.padding = loader.vector(prefix + ".learnt_padding");
    conditioners_.emplace(name, std::move(conditioner));
  }
}

bool Conditioning::used_in_sum(const std::string& name) const {
  return std::find(fuser_.sum.begin(), fuser_.sum.end(), name) != fuser_.sum.end();
}

void Conditioning::check(std::span<const Condition> conditions) const {
  for (const Condition& condition : conditions) {
    check_one(condition);
    const auto same = [&](const Condition& other) {
      return other.name == condition.name && other.negative == condition.negative;
    };
    if (std::count_if(conditions.begin(), conditions.end(), same) > 1) {
      refuse("the condition \"" + condition.name + "\" is given twice");
    }
  }
}

int Conditioning::cross_rows(std::span<const Condition> conditions) const {
  int64_t rows = 0;
  for (const std::string& name : fuser_.cross) {
    int64_t most = 1;
    for (const Condition& condition : conditions) {
      if (condition.name == name) most = std::max(most, condition.rows);
    }
    rows += most;
  }
  return static_cast<int>(rows);
}

void Conditioning::check_one(const Condition& condition) const {
  const auto found = conditioners_.find(condition.name);
  if (found == conditioners_.end()) {
    std::vector<std::string> names;
    for (const auto& [name, conditioner] : conditioners_) names.push_back(name);
    refuse("this model has no condition \"" + condition.name + "\"; " +
           (names.empty() ? "it takes none" : "it has " + quoted_list(names)));
  }
  if (condition.absent) return;
  const ConditionerShape& shape = found->second.shape;
  const std::string what = "the condition \"" + condition.name + "\"";
  if (shape.table) {
    if (condition.rows > 0) refuse(what + " is a word, not a tensor");
    if (!shape.values.empty() &&
        std::find(shape.values.begin(), shape.values.end(), condition.text) == shape.values.end()) {
      refuse(what + " is \"" + condition.text + "\"; this model knows " + quoted_list(shape.values));
    }
    return;
  }
  if (condition.rows < 1) refuse(what + " is a tensor of " + std::to_string(shape.dim) + " columns, not a word");
  if (condition.columns != shape.dim) {
    refuse(what + " has " + std::to_string(condition.columns) + " columns; this model wants " +
           std::to_string(shape.dim));
  }
  constexpr int64_t kMaxRows = 1 << 16;
  if (condition.rows > kMaxRows) refuse(what + " has more than " + std::to_string(kMaxRows) + " rows");
  if (used_in_sum(condition.name) && condition.rows != 1) {
    refuse(what + " has " + std::to_string(condition.rows) + " rows; one that is added to the input has 1");
  }
  if (!std::all_of(condition.tensor.begin(), condition.tensor.end(), [](float v) { return v * 0.0f == 0.0f; })) {
    refuse(what + " holds a value that is not finite");
  }
}

Conditioning::Rows Conditioning::padding_rows(const Conditioner& conditioner, int count) const {
  Rows rows;
  rows.count = count;
  rows.values.assign(static_cast<size_t>(count) * dim_, 0.0f);
  if (conditioner.padding) {
    for (int row = 0; row < count; ++row) std::copy_n(conditioner.padding, dim_, &rows.values[row * size_t(dim_)]);
  }
  return rows;
}

Conditioning::Rows Conditioning::project(Workspace& work, const Conditioner& conditioner, std::vector<float> values,
                                         int count) const {
  if (!conditioner.projection.loaded()) return {std::move(values), count};
  Rows rows;
  rows.count = count;
  rows.values.resize(static_cast<size_t>(count) * dim_);
  conditioner.projection.apply(work, count, {values.data(), conditioner.shape.dim}, {rows.values.data(), dim_});
  return rows;
}

Conditioning::Rows Conditioning::evaluate(Workspace& work, const std::string& name,
                                          std::span<const Condition> conditions, bool negative) const {
  const auto found = conditioners_.find(name);
  if (found == conditioners_.end()) return {};
  const Conditioner& conditioner = found->second;
  const Condition* condition = find(conditions, name, negative);
  if (!condition) {
    // The unconditional half of a tensor is as long as the tensor that it stands in for.
    const Condition* positive = find(conditions, name, false);
    return padding_rows(conditioner, positive && positive->rows > 0 ? static_cast<int>(positive->rows) : 1);
  }
  if (conditioner.shape.table) {
    std::vector<float> row(conditioner.table.width);
    conditioner.table.read(table_row(conditioner.shape, condition->text), row.data());
    return project(work, conditioner, std::move(row), 1);
  }
  const auto count = static_cast<int>(condition->rows);
  Rows rows = project(work, conditioner, condition->tensor, count);
  const Rows padding = padding_rows(conditioner, 1);
  for (int i = 0; i < count; ++i) {
    if (!condition->mask.empty() && !condition->mask[i]) {
      std::copy_n(padding.values.data(), dim_, &rows.values[static_cast<size_t>(i) * dim_]);
    }
  }
  return rows;
}

FusedConditions Conditioning::fuse(Workspace& work, std::span<const Condition> conditions, bool negative) const {
  FusedConditions fused;
  for (const std::string& name : fuser_.sum) {
    const Rows rows = evaluate(work, name, conditions, negative);
    if (rows.count == 0) continue;
    if (fused.sum.empty()) fused.sum.assign(kernels::round_up(dim_, kernels::kLanes), 0.0f);
    work.context.kernels.add(fused.sum.data(), rows.values.data(), dim_);
  }
  for (const std::string& name : fuser_.cross) {
    const Rows rows = evaluate(work, name, conditions, negative);
    fused.cross.insert(fused.cross.end(), rows.values.begin(), rows.values.end());
    fused.cross_count += rows.count;
  }
  if (!fuser_.cross_positions) return fused;
  constexpr float kPeriod = 10000.0f;
  std::vector<float> position(dim_);
  for (int i = 0; i < fused.cross_count; ++i) {
    std::fill(position.begin(), position.end(), 0.0f);
    nn::add_sin_embedding(i, kPeriod, dim_, position.data());
    for (int d = 0; d < dim_; ++d) {
      fused.cross[static_cast<size_t>(i) * dim_ + d] += fuser_.cross_position_scale * position[d];
    }
  }
  return fused;
}

}  // namespace moshi::lm
