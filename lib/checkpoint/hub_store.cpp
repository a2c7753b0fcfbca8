// SPDX-License-Identifier: MIT
#include "checkpoint/hub_store.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <vector>

#include "checkpoint/atomic_file.h"
#include "checkpoint/json_text.h"
#include "common/error.h"
#include "common/log.h"

namespace moshi::checkpoint {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kFlushBytes = uint64_t{8} << 20;

[[noreturn]] void cannot_write(const std::string& path, const std::string& why) {
  throw Error(MOSHI_ERR_READ, "Cannot write \"" + path + "\" in the Hugging Face cache: " + why +
                                  " (HF_HUB_CACHE or HF_HOME name another place)");
}

}  // namespace

std::string StoredFile::blob() const { return hub_repository_directory(id) + "/blobs/" + etag; }

std::string StoredFile::partial() const { return blob() + ".incomplete"; }

std::string StoredFile::pointer() const { return hub_repository_directory(id) + "/snapshots/" + commit + "/" + name; }

std::string StoredFile::lock() const {
  return hub_cache_directory() + "/.locks/models--" + id.owner + "--" + id.name + "/" + etag + ".lock";
}

bool StoredFile::is_there() const {
  std::error_code ignored;
  return fs::is_regular_file(pointer(), ignored);
}

bool StoredFile::has_blob() const {
  std::error_code ignored;
  return fs::is_regular_file(blob(), ignored);
}

uint64_t StoredFile::partial_bytes() const {
  std::error_code failed;
  const auto bytes = fs::file_size(partial(), failed);
  return failed ? 0 : bytes;
}

void StoredFile::link() const {
  if (is_there()) return;
  make_parents(pointer());
  const fs::path target = fs::path(blob()).lexically_relative(fs::path(pointer()).parent_path());
  // Renamed into place: whoever looks sees the old link or the new one.
  const std::string temporary = pointer() + ".tmp." + std::to_string(::getpid());
  ::unlink(temporary.c_str());
  if (::symlink(target.c_str(), temporary.c_str()) == 0) {
    if (std::rename(temporary.c_str(), pointer().c_str()) == 0) return;
    const int error = errno;
    ::unlink(temporary.c_str());
    cannot_write(pointer(), std::strerror(error));
  }
  // A file system without links: the content itself takes the name, as with the client.
  if (std::rename(blob().c_str(), pointer().c_str()) != 0) cannot_write(pointer(), std::strerror(errno));
}

void make_parents(const std::string& path) {
  const fs::path directory = fs::path(path).parent_path();
  std::error_code failed;
  fs::create_directories(directory, failed);
  if (failed) cannot_write(directory.string(), failed.message());
}

void mark_absent(const HubId& id, const std::string& commit, const std::string& file) {
  const std::string path = hub_repository_directory(id) + "/.no_exist/" + commit + "/" + file;
  make_parents(path);
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
  if (fd < 0) cannot_write(path, std::strerror(errno));
  ::close(fd);
}

void write_reference(const HubId& id, const std::string& commit) {
  if (id.revision == commit) return;
  const std::string path = hub_repository_directory(id) + "/refs/" + id.revision;
  std::error_code ignored;
  if (fs::is_regular_file(path, ignored) && read_text_file(path) == commit) return;
  make_parents(path);
  write_text_file(path, commit);
}

void check_disk_space(uint64_t bytes) {
  const std::string cache = hub_cache_directory();
  make_parents(cache + "/.");
  struct statvfs disk {};
  if (::statvfs(cache.c_str(), &disk) != 0) return;
  const uint64_t free = static_cast<uint64_t>(disk.f_bavail) * disk.f_frsize;
  if (bytes <= free) return;
  cannot_write(cache, std::to_string(bytes) + " bytes are to come and " + std::to_string(free) + " are free");
}

CacheLock::CacheLock(const std::string& path, const std::function<void()>& wait) {
  make_parents(path);
  for (;;) {
    fd_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (fd_ < 0) cannot_write(path, std::strerror(errno));
    const bool is_locked = ::flock(fd_, LOCK_EX | LOCK_NB) == 0;
    const int error = errno;
    struct stat status {};
    // A lock on a file that somebody has removed meanwhile locks out nobody.
    if (is_locked && ::fstat(fd_, &status) == 0 && status.st_nlink > 0) return;
    if (!is_locked && error != EWOULDBLOCK && error != EACCES && error != EINTR) {
      log(MOSHI_LOG_WARNING, "hub", "\"" + path + "\" cannot be locked: " + std::strerror(error));
      return;
    }
    ::close(fd_);
    fd_ = -1;
    if (!is_locked) wait();
  }
}

CacheLock::~CacheLock() {
  if (fd_ >= 0) ::close(fd_);
}

PartialFile::PartialFile(std::string path) : path_(std::move(path)) {
  fd_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (fd_ < 0) fail(errno);
  struct stat status {};
  if (::fstat(fd_, &status) != 0) fail(errno);
  bytes_ = static_cast<uint64_t>(status.st_size);
}

PartialFile::~PartialFile() {
  if (fd_ >= 0) ::close(fd_);
}

void PartialFile::fail(int error) const { cannot_write(path_, std::strerror(error)); }

void PartialFile::append(std::span<const std::byte> data) {
  const uint64_t before = bytes_;
  while (!data.empty()) {
    const ssize_t done = ::write(fd_, data.data(), data.size());
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) fail(errno);
    bytes_ += static_cast<uint64_t>(done);
    data = data.subspan(static_cast<size_t>(done));
  }
  flush(before);
}

void PartialFile::flush([[maybe_unused]] uint64_t before) {
#ifdef SYNC_FILE_RANGE_WRITE
  const uint64_t ready = bytes_ / kFlushBytes * kFlushBytes;
  if (before >= ready) return;
  const auto flush_piece = [&](uint64_t end, unsigned how) {
    if (end == 0) return;  // no bytes would mean all bytes
    const uint64_t begin = end - std::min(end, kFlushBytes);
    ::sync_file_range(fd_, static_cast<off_t>(begin), static_cast<off_t>(end - begin), how);
  };
  flush_piece(ready, SYNC_FILE_RANGE_WRITE);
  flush_piece(ready - kFlushBytes, SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER);
#endif
}

void PartialFile::read_all(const std::function<void(std::span<const std::byte>)>& take) const {
  std::vector<std::byte> piece(size_t{1} << 20);
  for (uint64_t at = 0; at < bytes_;) {
    const ssize_t got = ::pread(fd_, piece.data(), piece.size(), static_cast<off_t>(at));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) fail(got < 0 ? errno : EIO);
    take(std::span(piece).first(static_cast<size_t>(got)));
    at += static_cast<uint64_t>(got);
  }
}

void PartialFile::clear() {
  if (::ftruncate(fd_, 0) != 0) fail(errno);
  bytes_ = 0;
}

void PartialFile::finish(const std::string& path) {
  if (::fsync(fd_) != 0) fail(errno);
  if (std::rename(path_.c_str(), path.c_str()) != 0) fail(errno);
}

void PartialFile::remove() { ::unlink(path_.c_str()); }

}  // namespace moshi::checkpoint
