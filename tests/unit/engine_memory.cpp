// SPDX-License-Identifier: MIT
// What is free on a machine and in its control groups, and what is promised of it.
#include "engine/cores.h"
#include "engine/environment.h"
#include "engine/memory.h"
#include "temp_dir.h"

namespace {

using moshi::engine::free_memory;
using moshi::engine::reserve_memory;
using moshi::engine::unreserved_memory;

struct Machine {
  TempDir dir;
  moshi::engine::SystemPaths paths() { return {dir / "proc", dir / "cgroup"}; }
};

TEST(FreeMemory, IsWhatTheMachineHasAvailable) {
  Machine machine;
  machine.dir.write("proc/meminfo", "MemTotal:  900 kB\nMemFree: 100 kB\nMemAvailable:   600 kB\n");
  machine.dir.write("proc/self/cgroup", "0::/\n");
  EXPECT_EQ(free_memory(machine.paths()), 600u * 1024);
}

TEST(FreeMemory, IsLimitedByEveryGroupAround) {
  Machine machine;
  machine.dir.write("proc/meminfo", "MemAvailable: 60000 kB\n");
  machine.dir.write("proc/self/cgroup", "0::/outer/inner\n");
  machine.dir.write("cgroup/outer/inner/memory.max", "max\n");
  machine.dir.write("cgroup/outer/inner/memory.current", "5000\n");
  EXPECT_EQ(free_memory(machine.paths()), 60000u * 1024);
  machine.dir.write("cgroup/outer/memory.max", "20000\n");
  machine.dir.write("cgroup/outer/memory.current", "15000\n");
  EXPECT_EQ(free_memory(machine.paths()), 5000u);
  machine.dir.write("cgroup/outer/memory.stat", "anon 12000\ninactive_file 2500\n");
  EXPECT_EQ(free_memory(machine.paths()), 7500u);
  machine.dir.write("cgroup/memory.max", "1000\n");
  machine.dir.write("cgroup/memory.current", "4000\n");
  EXPECT_EQ(free_memory(machine.paths()), 0u);
}

TEST(FreeMemory, KnowsTheFirstVersionOfGroups) {
  Machine machine;
  machine.dir.write("proc/meminfo", "MemAvailable: 60000 kB\n");
  machine.dir.write("proc/self/cgroup", "5:cpu:/x\n4:blkio,memory:/box\n0::/\n");
  machine.dir.write("cgroup/memory/box/memory.limit_in_bytes", "9000\n");
  machine.dir.write("cgroup/memory/box/memory.usage_in_bytes", "2000\n");
  EXPECT_EQ(free_memory(machine.paths()), 7000u);
}

TEST(FreeMemory, IsUnlimitedWhereTheSystemDoesNotSay) {
  Machine machine;
  EXPECT_EQ(free_memory(machine.paths()), UINT64_MAX);
}

TEST(FreeMemory, IsSomethingHere) {
  EXPECT_GT(free_memory(), 1'000'000u);
  EXPECT_GE(moshi::engine::available_cores(), 1);
}

class Reservations : public testing::Test {
 protected:
  Reservations() {
    auto environment = moshi::engine::default_environment();
    environment.free_bytes = [] { return uint64_t{1000}; };
    moshi::engine::set_environment(environment);
  }
  ~Reservations() override { moshi::engine::set_environment(moshi::engine::default_environment()); }
};

TEST_F(Reservations, AddUpAndAreGivenBack) {
  auto first = reserve_memory(600, "a");
  EXPECT_EQ(unreserved_memory(), 400u);
  try {
    reserve_memory(500, "loading b");
    FAIL() << "500 of 400 bytes were promised";
  } catch (const moshi::Error& error) {
    EXPECT_EQ(error.status(), MOSHI_ERR_NO_MEMORY);
    EXPECT_NE(std::string(error.what()).find("loading b needs 0.5 kB (500 bytes)"), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find("(400 bytes)"), std::string::npos) << error.what();
  }
  {
    auto second = reserve_memory(400, "b");
    EXPECT_EQ(unreserved_memory(), 0u);
    first = std::move(second);
    EXPECT_EQ(first.bytes(), 400u);
  }
  EXPECT_EQ(unreserved_memory(), 600u);
  first.release();
  first.release();
  EXPECT_EQ(unreserved_memory(), 1000u);
}

TEST(DescribeBytes, IsForPeople) {
  EXPECT_EQ(moshi::engine::describe_bytes(1'500'000'000), "1.5 GB (1500000000 bytes)");
  EXPECT_EQ(moshi::engine::describe_bytes(2'000'000), "2.0 MB (2000000 bytes)");
}

}  // namespace
