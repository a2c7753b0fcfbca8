// SPDX-License-Identifier: MIT
// A frame's way through the engine takes no memory: not at submission, not in the executor, not at its end.
#include <cstdlib>
#include <new>

#include "engine_fixture.h"

namespace {

std::atomic<int64_t> allocations{0};

void* counted(size_t bytes) {
  ++allocations;
  if (void* memory = std::malloc(bytes)) return memory;
  throw std::bad_alloc();
}

}  // namespace

void* operator new(size_t bytes) { return counted(bytes); }
void* operator new[](size_t bytes) { return counted(bytes); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, size_t) noexcept { std::free(memory); }

namespace {

using fixture::audio;
using fixture::codes;
using fixture::Work;

class EngineAllocations : public fixture::EngineTest {
 protected:
  static void on_done(void* user, MoshiJob*) { ++*static_cast<std::atomic<int>*>(user); }
};

TEST_F(EngineAllocations, AFrameTakesNoMemory) {
  MoshiEngine* engine = loaded();
  control.record = false;
  std::atomic<int> done{0};
  std::vector<MoshiSession*> streams;
  std::vector<std::unique_ptr<Work>> works;
  for (int i = 0; i < 6; ++i) {
    streams.push_back(session(engine, i % 2 ? MOSHI_CLASS_FILE : MOSHI_CLASS_LIVE));
    works.push_back(i < 3 ? Work::encode(audio(3, 1)) : Work::decode(codes(20, 8, 1)));
    works.back()->job.done = i % 3 ? on_done : nullptr;
    works.back()->job.done_user = &done;
  }
  int64_t before = 0;
  for (int round = 0; round < 50; ++round) {
    if (round == 5) before = allocations;
    for (size_t i = 0; i < streams.size(); ++i) {
      if (api.submit(streams[i], &works[i]->job, &error) != MOSHI_OK) std::abort();
    }
    for (size_t i = 0; i < streams.size(); ++i) {
      while (api.wait(streams[i], &works[i]->job, 0, &error) == MOSHI_ERR_TIMEOUT) std::this_thread::yield();
      if (api.wait(streams[i], &works[i]->job, MOSHI_FOREVER, &error) != MOSHI_OK) std::abort();
    }
  }
  EXPECT_EQ(allocations - before, 0);
  EXPECT_EQ(done, 4 * 50);
}

}  // namespace
