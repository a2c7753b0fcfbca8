// SPDX-License-Identifier: MIT
// How much memory is there, and promises on it: what a load or a session needs is compared with what is free, and
// promised to it, before any of it is taken.
#pragma once

#include <cstdint>
#include <string>

namespace moshi::engine {

/// Where the system describes itself; another place in tests.
struct SystemPaths {
  std::string proc = "/proc";
  std::string cgroup = "/sys/fs/cgroup";
};

/// Bytes that this process can still take without swapping or being killed: the least of the machine's available
/// memory and of what every control group around the process leaves. UINT64_MAX where the system does not say.
uint64_t free_memory(const SystemPaths& paths = {});

/// Memory that was found free and is promised, but not in use yet. Giving it back is what its destructor does.
class Reservation {
 public:
  Reservation() = default;
  ~Reservation() { release(); }
  Reservation(Reservation&& other) noexcept;
  Reservation& operator=(Reservation&& other) noexcept;

  /// The memory is in use now, and shows in free_memory(), or is not needed any more.
  void release() noexcept;
  uint64_t bytes() const { return bytes_; }

 private:
  friend Reservation reserve_memory(uint64_t bytes, const std::string& what);
  explicit Reservation(uint64_t bytes) : bytes_(bytes) {}
  uint64_t bytes_ = 0;
};

/// Promises `bytes` to `what` ("loading /models/x.safetensors"). Throws Error(NO_MEMORY) with both numbers if what is
/// free, less what is promised already, does not suffice.
Reservation reserve_memory(uint64_t bytes, const std::string& what);

/// What is free and not promised.
uint64_t unreserved_memory();

/// "1.5 GB (1500000000 bytes)"
std::string describe_bytes(uint64_t bytes);

}  // namespace moshi::engine
