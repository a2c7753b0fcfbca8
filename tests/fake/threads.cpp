// SPDX-License-Identifier: MIT
#include "threads.h"

#include <map>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "fake.h"
#include "knobs.h"

namespace moshi_fake {
namespace {

struct Entry {
  std::thread thread;
  std::function<void()> stop;
  bool abandoned = false;
};

struct Threads {
  std::mutex mutex;
  std::map<int, Entry> entries;
  int next = 1;

  Threads() {
    // Made first, so that they outlive the threads that use them.
    Count();
    Knob("", 0);
  }

  ~Threads() {
    for (auto& [number, entry] : entries) {
      entry.stop();
      entry.thread.join();
    }
  }
};

Threads& TheThreads() {
  static Threads threads;
  return threads;
}

}  // namespace

int StartThread(std::function<void()> body, std::function<void()> stop) {
  Threads& threads = TheThreads();
  std::lock_guard lock(threads.mutex);
  const int number = threads.next++;
  ++Count().threads;
  Entry& entry = threads.entries[number];
  entry.stop = std::move(stop);
  entry.thread = std::thread([body = std::move(body)]() mutable {
    body();
    body = nullptr;
    --Count().threads;
  });
  return number;
}

void JoinThread(int number) {
  Threads& threads = TheThreads();
  Entry entry;
  {
    std::lock_guard lock(threads.mutex);
    auto found = threads.entries.find(number);
    if (found == threads.entries.end()) return;
    entry = std::move(found->second);
    threads.entries.erase(found);
  }
  entry.thread.join();
}

void AbandonThread(int number) {
  Threads& threads = TheThreads();
  std::lock_guard lock(threads.mutex);
  auto found = threads.entries.find(number);
  if (found != threads.entries.end()) found->second.abandoned = true;
}

void JoinAbandonedThreads() {
  Threads& threads = TheThreads();
  std::vector<int> numbers;
  {
    std::lock_guard lock(threads.mutex);
    for (const auto& [number, entry] : threads.entries)
      if (entry.abandoned) numbers.push_back(number);
  }
  for (int number : numbers) JoinThread(number);
}

}  // namespace moshi_fake

#pragma GCC visibility push(default)
extern "C" void moshi_fake_settle(void) { moshi_fake::JoinAbandonedThreads(); }
#pragma GCC visibility pop
