// SPDX-License-Identifier: MIT
// From named conditions to what a model adds to its input and what it attends to.
#pragma once

#include <map>
#include <span>
#include <string>
#include <vector>

#include "lm/language_model.h"
#include "lm/layers.h"

namespace moshi::lm {

/// The conditions of one stream, as the transformer takes them.
struct FusedConditions {
  std::vector<float> sum;    ///< dim floats added to every input; empty: nothing
  std::vector<float> cross;  ///< [cross_count][dim] to attend to
  int cross_count = 0;
};

class Conditioning {
 public:
  void load(const Config& config, LayerLoader& loader);

  /// Throws Error(INVALID_ARGUMENT) naming the condition and what it may be.
  void check(std::span<const Condition> conditions) const;
  /// How many positions they give to attend to, in the longer half of guidance. check() has passed.
  int cross_rows(std::span<const Condition> conditions) const;
  /// Of one half of guidance: the conditions that are `negative`, or those that are not. Absent ones are their learnt
  /// padding. check() has passed.
  FusedConditions fuse(Workspace& work, std::span<const Condition> conditions, bool negative) const;

 private:
  struct Conditioner {
    ConditionerShape shape;
    PackedTable table;
    LinearLayer projection;
    const float* padding = nullptr;
  };
  /// Rows of the model's width.
  struct Rows {
    std::vector<float> values;
    int count = 0;
  };

  Rows evaluate(Workspace& work, const std::string& name, std::span<const Condition> conditions, bool negative) const;
  Rows project(Workspace& work, const Conditioner& conditioner, std::vector<float> values, int count) const;
  Rows padding_rows(const Conditioner& conditioner, int count) const;
  void check_one(const Condition& condition) const;
  bool used_in_sum(const std::string& name) const;

  int dim_ = 0;
  FuserShape fuser_;
  std::map<std::string, Conditioner> conditioners_;
};

}  // namespace moshi::lm
