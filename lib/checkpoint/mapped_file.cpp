// SPDX-License-Identifier: MIT
#include "checkpoint/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>

#include "common/error.h"

namespace moshi::checkpoint {
namespace {

[[noreturn]] void fail(const std::string& path, const char* what, int error) {
  const bool missing = error == ENOENT || error == ENOTDIR;
  throw Error(missing ? MOSHI_ERR_NOT_FOUND : MOSHI_ERR_READ,
              missing ? "There is no file \"" + path + "\""
                      : "Cannot " + std::string(what) + " \"" + path + "\": " + std::strerror(error));
}

}  // namespace

MappedFile::MappedFile(const std::string& path, Mode mode) : path_(path) {
  // Without O_NONBLOCK, opening a named pipe would wait for a writer.
  fd_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd_ < 0) fail(path, "open", errno);
  try {
    struct stat info {};
    if (::fstat(fd_, &info) != 0) fail(path, "examine", errno);
    if (!S_ISREG(info.st_mode)) throw Error(MOSHI_ERR_READ, "\"" + path + "\" is not a regular file");
    bytes_ = static_cast<uint64_t>(info.st_size);
    if (mode == Mode::kMap && bytes_ > 0) {
      if (bytes_ > std::numeric_limits<size_t>::max()) fail(path, "map", EOVERFLOW);
      void* data = ::mmap(nullptr, static_cast<size_t>(bytes_), PROT_READ, MAP_PRIVATE, fd_, 0);
      if (data == MAP_FAILED) fail(path, "map", errno);
      data_ = static_cast<const std::byte*>(data);
    }
  } catch (...) {
    ::close(fd_);
    throw;
  }
}

MappedFile::~MappedFile() {
  if (data_) ::munmap(const_cast<std::byte*>(data_), static_cast<size_t>(bytes_));
  ::close(fd_);
}

void MappedFile::read(uint64_t offset, std::span<std::byte> out) const {
  while (!out.empty()) {
    const ssize_t got = ::pread(fd_, out.data(), out.size(), static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail(path_, "read", errno);
    if (got == 0) throw Error(MOSHI_ERR_READ, "\"" + path_ + "\" became shorter while it was read");
    offset += static_cast<uint64_t>(got);
    out = out.subspan(static_cast<size_t>(got));
  }
}

void MappedFile::drop(std::span<const std::byte> part) const {
  if (!data_ || part.empty()) return;
  const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto begin = reinterpret_cast<uintptr_t>(part.data()) & ~(page - 1);
  const auto end = reinterpret_cast<uintptr_t>(part.data() + part.size());
  // Pages shared with a neighboring tensor may go too: the mapping is read-only and is read in again.
  ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

}  // namespace moshi::checkpoint
