// SPDX-License-Identifier: MIT
// Writing into the Hugging Face cache, by the rules of the hub's own client, so that both can work on it at once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>

#include "checkpoint/hub_cache.h"

namespace moshi::checkpoint {

/// Where a file of a repository is kept: its content by checksum, its name as a link to that.
struct StoredFile {
  HubId id;
  std::string commit;
  std::string name;
  std::string etag;

  std::string blob() const;     ///< the content
  std::string partial() const;  ///< what has come of it so far
  std::string pointer() const;  ///< the link in the snapshot
  std::string lock() const;     ///< held by whoever writes the three above
  bool is_there() const;        ///< the link and what it leads to
  bool has_blob() const;
  uint64_t partial_bytes() const;
  /// Links the name to the content, which must be there.
  void link() const;
};

/// Creates the directory of `path`, and those above. Throws Error(READ).
void make_parents(const std::string& path);
/// Marks that the repository has no such file at that commit, as far as the cache can be written.
void mark_absent(const HubId& id, const std::string& commit, const std::string& file);
/// Makes the revision mean the commit.
void write_reference(const HubId& id, const std::string& commit);
/// Throws Error(READ) with both numbers if fewer than `bytes` are free where the cache is.
void check_disk_space(uint64_t bytes);

/// The client's lock: flock() on a file that stays. Waits for it with `wait` between tries.
class CacheLock {
 public:
  CacheLock(const std::string& path, const std::function<void()>& wait);
  ~CacheLock();
  CacheLock(const CacheLock&) = delete;
  CacheLock& operator=(const CacheLock&) = delete;

 private:
  int fd_ = -1;
};

/// The partial file, which grows at its end. Throws Error(READ) where the disk refuses.
class PartialFile {
 public:
  explicit PartialFile(std::string path);
  ~PartialFile();
  PartialFile(const PartialFile&) = delete;
  PartialFile& operator=(const PartialFile&) = delete;

  uint64_t bytes() const { return bytes_; }
  void append(std::span<const std::byte> data);
  /// Passes on all that is there, in pieces.
  void read_all(const std::function<void(std::span<const std::byte>)>& take) const;
  void clear();
  /// Puts it on disk, and in place under its final name.
  void finish(const std::string& path);
  void remove();

 private:
  [[noreturn]] void fail(int error) const;
  /// Keeps no more than a moment's bytes off the disk, so that finish() does not stand still over gigabytes.
  void flush(uint64_t before);

  std::string path_;
  int fd_ = -1;
  uint64_t bytes_ = 0;
};

}  // namespace moshi::checkpoint
