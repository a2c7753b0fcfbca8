// SPDX-License-Identifier: MIT
// The one pool of compute threads of the process. The engine's executor thread calls run(); it takes part itself.
#pragma once

#include <memory>

namespace moshi::kernels {

/// A body of a parallel loop: called with each index in [0, count), on any of the pool's threads.
struct LoopBody {
  void (*call)(const void* self, int index);
  const void* self;
};

/// Fork-join over `threads` threads, the caller included. Workers spin for a bounded time between loops and then
/// sleep. One loop at a time; loops do not nest.
class Pool {
 public:
  explicit Pool(int threads);
  ~Pool();
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  int threads() const;
  void run(int count, LoopBody body);

  /// Calls `fn(index)` for every index in [0, count); returns when all have returned. `fn` must not throw.
  template <class Fn>
  void run(int count, const Fn& fn) {
    run(count, LoopBody{[](const void* self, int index) { (*static_cast<const Fn*>(self))(index); }, &fn});
  }

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace moshi::kernels
