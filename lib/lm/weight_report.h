// SPDX-License-Identifier: MIT
// Collects how a weight file differs from a configuration and says it in one sentence. Internal.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "checkpoint/safetensors.h"

namespace moshi::lm {

/// Throws Error(NOT_SUPPORTED) if the name of the file says that it has another format than safetensors: which, and
/// what to take instead.
void refuse_other_formats(const std::string& path);

class WeightReport {
 public:
  /// `subject`: "the model's configuration", as the sentence calls what the file does not fit.
  WeightReport(const checkpoint::SafetensorsFile& file, std::string subject);

  void missing(const std::string& name) { add(missing_, name); }
  void unexpected(const std::string& name) { add(unexpected_, name); }
  void wrong_shape(const std::string& name, const std::vector<int64_t>& found, const std::vector<int64_t>& wanted);
  void wrong_type(const checkpoint::Tensor& tensor, const char* wanted);

  /// Throws Error if anything was reported: NOT_SUPPORTED for a known layout of another program, else MISMATCH.
  void finish() const;

 private:
  static void add(std::vector<std::string>& list, std::string text);

  const checkpoint::SafetensorsFile& file_;
  std::string subject_;
  std::vector<std::string> missing_;
  std::vector<std::string> unexpected_;
  std::vector<std::string> wrong_shape_;
  std::vector<std::string> wrong_type_;
};

}  // namespace moshi::lm
