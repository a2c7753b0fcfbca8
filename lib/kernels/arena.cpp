// SPDX-License-Identifier: MIT
#include "kernels/arena.h"

#include <sys/mman.h>

#include <algorithm>
#include <string>
#include <utility>

#include "common/error.h"

namespace moshi::kernels {
namespace {

constexpr size_t kChunk = size_t{32} << 20;
constexpr size_t kHugePage = size_t{2} << 20;

void* map(size_t bytes) {
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) {
    throw Error(MOSHI_ERR_NO_MEMORY, "the system refused " + std::to_string(bytes) + " bytes of memory");
  }
  return memory;
}

}  // namespace

Arena::~Arena() {
  for (const Chunk& chunk : chunks_) munmap(chunk.memory, chunk.bytes);
}

float* Arena::floats(size_t count) { return reinterpret_cast<float*>(bytes(count * sizeof(float))); }

std::byte* Arena::bytes(size_t count) {
  const size_t bytes = (count + 63) / 64 * 64;
  if (bytes > left_) {
    const size_t wanted = (std::max(bytes, kChunk) + kHugePage - 1) / kHugePage * kHugePage;
    // One huge page more than needed, so that an aligned start fits.
    void* memory = map(wanted + kHugePage);
    chunks_.push_back({memory, wanted + kHugePage});
    const auto address = reinterpret_cast<uintptr_t>(memory);
    next_ = reinterpret_cast<std::byte*>((address + kHugePage - 1) / kHugePage * kHugePage);
    left_ = wanted;
    madvise(next_, wanted, MADV_HUGEPAGE);
  }
  std::byte* result = next_;
  next_ += bytes;
  left_ -= bytes;
  bytes_ += bytes;
  return result;
}

LazyFloats::LazyFloats(size_t count) : count_(count) {
  if (count) data_ = static_cast<float*>(map(count * sizeof(float)));
}

LazyFloats::~LazyFloats() {
  if (data_) munmap(data_, count_ * sizeof(float));
}

LazyFloats::LazyFloats(LazyFloats&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), count_(std::exchange(other.count_, 0)) {}

LazyFloats& LazyFloats::operator=(LazyFloats&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(count_, other.count_);
  return *this;
}

void LazyFloats::clear() {
  if (data_) madvise(data_, count_ * sizeof(float), MADV_DONTNEED);
}

}  // namespace moshi::kernels
