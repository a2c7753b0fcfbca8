// SPDX-License-Identifier: MIT
// Mimi on packed CPU kernels in f32: the fast backend, and the one whose bits are the same everywhere.
#pragma once

#include <functional>
#include <memory>

#include "kernels/kernels.h"
#include "kernels/pool.h"
#include "mimi/codec.h"
#include "mimi/weights.h"

namespace moshi::mimi {

/// Packs the tensors that the wanted directions need; `source` is not used after the return, `pool` must outlive the
/// codec. `progress`, if set, is called on this thread with fractions in [0, 1]; an exception from it ends the load.
/// `kernels` null stands for kernels::select_kernels(). Throws Error: MISMATCH, NO_MEMORY, NOT_SUPPORTED, or what
/// `source` throws.
std::unique_ptr<Codec> make_packed_codec(const Config& config, const TensorSource& source, bool encode, bool decode,
                                         kernels::Pool& pool, const std::function<void(double)>& progress,
                                         const kernels::Kernels* kernels = nullptr);

}  // namespace moshi::mimi
