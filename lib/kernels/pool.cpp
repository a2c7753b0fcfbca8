// SPDX-License-Identifier: MIT
#include "kernels/pool.h"

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

#if defined(__x86_64__) || defined(__i386__)
#include <immintrin.h>
#endif

namespace moshi::kernels {
namespace {

// A worker that finds no loop spins this often before it sleeps: long enough to bridge the gaps between the layers of
// one frame, short enough not to burn a core between frames.
constexpr int kSpins = 4000;

void relax() {
#if defined(__x86_64__) || defined(__i386__)
  _mm_pause();
#else
  std::this_thread::yield();
#endif
}

}  // namespace

struct Pool::Impl {
  // One word says which loop is on and who takes part: generation in the upper half, then whether the loop is open,
  // then how many workers have joined. A worker joins by raising the count while the loop is open; run() closes it when
  // its own share is done and waits for those that joined, so that a worker that sleeps or is descheduled holds nobody
  // up.
  static constexpr uint64_t kOpen = uint64_t{1} << 31;
  static uint64_t generation_of(uint64_t gate) { return gate >> 32; }

  std::atomic<uint64_t> gate{0};
  std::atomic<int> next{0};
  std::atomic<uint64_t> finished{0};
  std::atomic<int> sleepers{0};
  std::atomic<bool> stopping{false};
  LoopBody body{nullptr, nullptr};
  int count = 0;
  std::mutex mutex;
  std::condition_variable wake;
  std::vector<std::thread> workers;

  void take_part() {
    for (int index; (index = next.fetch_add(1, std::memory_order_relaxed)) < count;) body.call(body.self, index);
  }

  bool something_new(uint64_t seen) const {
    return generation_of(gate.load(std::memory_order_seq_cst)) != seen || stopping.load(std::memory_order_relaxed);
  }

  void wait_for_loop(uint64_t seen) {
    for (int spin = 0; spin < kSpins; ++spin) {
      if (something_new(seen)) return;
      relax();
    }
    std::unique_lock lock(mutex);
    sleepers.fetch_add(1, std::memory_order_seq_cst);
    wake.wait(lock, [&] { return something_new(seen); });
    sleepers.fetch_sub(1, std::memory_order_relaxed);
  }

  void work() {
    uint64_t seen = 0;
    while (true) {
      wait_for_loop(seen);
      if (stopping.load(std::memory_order_relaxed)) return;
      uint64_t now = gate.load(std::memory_order_acquire);
      seen = generation_of(now);
      while ((now & kOpen) && generation_of(now) == seen) {
        if (!gate.compare_exchange_weak(now, now + 1, std::memory_order_acq_rel)) continue;
        take_part();
        finished.fetch_add(1, std::memory_order_release);
        break;
      }
    }
  }
};

Pool::Pool(int threads) : impl_(std::make_unique<Impl>()) {
  for (int i = 1; i < threads; ++i) impl_->workers.emplace_back([impl = impl_.get()] { impl->work(); });
}

Pool::~Pool() {
  {
    std::lock_guard lock(impl_->mutex);
    impl_->stopping.store(true);
  }
  impl_->wake.notify_all();
  for (auto& worker : impl_->workers) worker.join();
}

int Pool::threads() const { return static_cast<int>(impl_->workers.size()) + 1; }

void Pool::run(int count, LoopBody body) {
  Impl& impl = *impl_;
  if (count <= 1 || impl.workers.empty()) {
    for (int index = 0; index < count; ++index) body.call(body.self, index);
    return;
  }
  impl.body = body;
  impl.count = count;
  impl.next.store(0, std::memory_order_relaxed);
  impl.finished.store(0, std::memory_order_relaxed);
  const uint64_t generation = (Impl::generation_of(impl.gate.load(std::memory_order_relaxed)) + 1) & 0xffffffffu;
  impl.gate.store(generation << 32 | Impl::kOpen, std::memory_order_seq_cst);
  if (impl.sleepers.load(std::memory_order_seq_cst) > 0) {
    std::lock_guard lock(impl.mutex);
    impl.wake.notify_all();
  }
  impl.take_part();
  const uint64_t joined = impl.gate.fetch_and(~Impl::kOpen, std::memory_order_acq_rel) & (Impl::kOpen - 1);
  // A worker that the system has descheduled would make pure spinning expensive: yield after a while.
  for (int spin = 0; impl.finished.load(std::memory_order_acquire) != joined; ++spin) {
    if (spin < kSpins) {
      relax();
    } else {
      std::this_thread::yield();
    }
  }
}

}  // namespace moshi::kernels
