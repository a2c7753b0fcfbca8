// SPDX-License-Identifier: MIT
// Weight files in half precision, as published and embedded models have them.
#pragma once

#include <cmath>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "checkpoint/safetensors_writer.h"
#include "kernels/half.h"

namespace moshi::test {

/// The f16 number next to `value`, towards zero.
inline uint16_t to_f16(float value) {
  uint16_t least = 0, most = 0x7bff;
  while (least < most) {
    const auto middle = static_cast<uint16_t>((least + most + 1) / 2);
    if (kernels::f16_to_f32(middle) <= std::fabs(value)) {
      least = middle;
    } else {
      most = static_cast<uint16_t>(middle - 1);
    }
  }
  return static_cast<uint16_t>(least | (std::signbit(value) ? 0x8000 : 0));
}

/// Writes all tensors of a file of f32 as f16. Returns their values as they are then, by name.
inline std::map<std::string, std::vector<float>> write_halves(const checkpoint::SafetensorsFile& from,
                                                              const std::string& path) {
  std::vector<checkpoint::TensorHead> heads;
  for (const auto& [name, tensor] : from.tensors()) heads.push_back({name, checkpoint::Dtype::kF16, tensor.shape});
  checkpoint::SafetensorsWriter file(path, heads, {});
  std::map<std::string, std::vector<float>> rounded;
  for (const auto& [name, tensor] : from.tensors()) {
    std::vector<uint16_t> halves;
    for (const float value : tensor.to_f32()) {
      halves.push_back(to_f16(value));
      rounded[name].push_back(kernels::f16_to_f32(halves.back()));
    }
    file.write(std::as_bytes(std::span(halves)));
  }
  file.commit();
  return rounded;
}

}  // namespace moshi::test
