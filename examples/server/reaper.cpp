// SPDX-License-Identifier: MIT
#include "reaper.h"

#include <glib.h>

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <set>
#include <utility>

namespace server::reaper {
namespace {

/// Each mostly waits for a streaming thread.
constexpr int kThreads = 8;

using Call = std::function<void()>;

class Pool {
 public:
  Pool() : threads_(g_thread_pool_new(&Pool::work_on, this, kThreads, FALSE, nullptr)) {}

  void run(Call work) {
    uint64_t number;
    {
      const std::lock_guard lock(mutex_);
      number = ++last_;
      open_.insert(number);
    }
    // Should no thread start now, one that ends takes it up.
    g_thread_pool_push(threads_, new Work{number, std::move(work)}, nullptr);
  }

  void after(Call done) {
    const std::lock_guard lock(mutex_);
    waiting_.emplace_back(last_, std::move(done));
    tell();
  }

  void wait() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return open_.empty(); });
  }

 private:
  struct Work {
    uint64_t number;
    Call call;
  };

  static void work_on(gpointer given, gpointer self) {
    uint64_t number;
    {
      const std::unique_ptr<Work> work(static_cast<Work*>(given));
      number = work->number;
      work->call();
    }
    static_cast<Pool*>(self)->end(number);
  }

  void end(uint64_t number) {
    const std::lock_guard lock(mutex_);
    open_.erase(number);
    tell();
    changed_.notify_all();
  }

  // With the mutex.
  void tell() {
    while (!waiting_.empty() && (open_.empty() || *open_.begin() > waiting_.front().first)) {
      g_idle_add_full(G_PRIORITY_DEFAULT, call, new Call(std::move(waiting_.front().second)), free_call);
      waiting_.pop_front();
    }
  }

  static gboolean call(gpointer done) {
    (*static_cast<Call*>(done))();
    return G_SOURCE_REMOVE;
  }
  static void free_call(gpointer done) { delete static_cast<Call*>(done); }

  GThreadPool* threads_;
  std::mutex mutex_;
  std::condition_variable changed_;
  uint64_t last_ = 0;
  std::set<uint64_t> open_;                        // numbers of the work that has not been done
  std::deque<std::pair<uint64_t, Call>> waiting_;  // for all work up to that number
};

/// Never destroyed: its threads do not end before the process does.
Pool& pool() {
  static Pool* const only = new Pool;
  return *only;
}

}  // namespace

void run(std::function<void()> work) { pool().run(std::move(work)); }

void after(std::function<void()> done) { pool().after(std::move(done)); }

void wait() { pool().wait(); }

}  // namespace server::reaper
