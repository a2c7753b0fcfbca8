// SPDX-License-Identifier: MIT
// What every layer needs to compute: the pool and the kernels, and the scratch lists that calls share.
#pragma once

#include <vector>

#include "kernels/gemm.h"

namespace moshi::nn {

/// Row pointers of a product; reused from layer to layer, as only one computes at a time.
struct RowLists {
  std::vector<const float*> a;
  std::vector<const float*> residual;
  std::vector<float*> out;
  std::vector<float*> out_elu;
};

/// Room for `count` values that are about to be written; memory is kept between calls.
inline void grow(std::vector<float>& buffer, size_t count) {
  if (buffer.size() < count) buffer.resize(count);
}

struct Context {
  kernels::Pool& pool;
  const kernels::Kernels& kernels;
  RowLists rows;
};

}  // namespace moshi::nn
