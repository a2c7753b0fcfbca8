// SPDX-License-Identifier: MIT
#include "elf_file.h"

#include <elf.h>
#include <link.h>

#include <cstdint>
#include <cstring>

#include "glib_ptr.h"

namespace gstmoshi {
namespace {

/** The file's bytes. Every read is checked against its end: the file may be damaged. */
class Image {
 public:
  Image(const char* data, size_t size) : data_(data), size_(size) {}

  template <typename T>
  bool Read(uint64_t offset, T& value) const {
    if (offset > size_ || size_ - offset < sizeof(T)) return false;
    std::memcpy(&value, data_ + offset, sizeof(T));
    return true;
  }
  std::string Text(uint64_t offset) const {
    if (offset >= size_) return {};
    return std::string(data_ + offset, strnlen(data_ + offset, size_ - offset));
  }

 private:
  const char* data_;
  size_t size_;
};

struct Headers {
  std::vector<ElfW(Phdr)> segments;

  /** Offset in the file of an address in memory. */
  uint64_t FileOffset(uint64_t address) const {
    for (const ElfW(Phdr) & segment : segments)
      if (segment.p_type == PT_LOAD && address >= segment.p_vaddr && address - segment.p_vaddr < segment.p_filesz)
        return address - segment.p_vaddr + segment.p_offset;
    return UINT64_MAX;
  }
};

bool ReadHeaders(const Image& image, Headers& headers) {
  ElfW(Ehdr) header;
  if (!image.Read(0, header) || std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0) return false;
  if (header.e_ident[EI_CLASS] != (sizeof(void*) == 8 ? ELFCLASS64 : ELFCLASS32)) return false;
  for (unsigned i = 0; i < header.e_phnum; ++i) {
    ElfW(Phdr) segment;
    if (!image.Read(header.e_phoff + uint64_t{i} * header.e_phentsize, segment)) return false;
    headers.segments.push_back(segment);
  }
  return true;
}

std::vector<ElfW(Dyn)> ReadDynamic(const Image& image, const Headers& headers) {
  std::vector<ElfW(Dyn)> entries;
  for (const ElfW(Phdr) & segment : headers.segments) {
    if (segment.p_type != PT_DYNAMIC) continue;
    ElfW(Dyn) entry;
    for (uint64_t at = 0; at < segment.p_filesz; at += sizeof entry) {
      if (!image.Read(segment.p_offset + at, entry) || entry.d_tag == DT_NULL) break;
      entries.push_back(entry);
    }
  }
  return entries;
}

void AddDirectories(const std::string& list, const std::string& origin, std::vector<std::string>& directories) {
  size_t begin = 0;
  while (begin <= list.size()) {
    size_t end = list.find(':', begin);
    if (end == std::string::npos) end = list.size();
    std::string directory = list.substr(begin, end - begin);
    for (const char* name : {"${ORIGIN}", "$ORIGIN"}) {
      const size_t at = directory.find(name);
      if (at != std::string::npos) directory.replace(at, std::strlen(name), origin);
    }
    if (!directory.empty()) directories.push_back(directory);
    begin = end + 1;
  }
}

}  // namespace

std::optional<ElfNeeds> ReadElfNeeds(const std::string& path) {
  MappedFilePtr file(g_mapped_file_new(path.c_str(), FALSE, nullptr));
  if (!file) return std::nullopt;
  const Image image(g_mapped_file_get_contents(file.get()), g_mapped_file_get_length(file.get()));
  Headers headers;
  if (!ReadHeaders(image, headers)) return std::nullopt;

  const std::vector<ElfW(Dyn)> entries = ReadDynamic(image, headers);
  uint64_t strings = UINT64_MAX;
  for (const ElfW(Dyn) & entry : entries)
    if (entry.d_tag == DT_STRTAB) strings = headers.FileOffset(entry.d_un.d_ptr);
  if (strings == UINT64_MAX) return std::nullopt;

  StringPtr origin(g_path_get_dirname(path.c_str()));
  ElfNeeds needs;
  for (const ElfW(Dyn) & entry : entries) {
    if (entry.d_tag == DT_NEEDED) needs.libraries.push_back(image.Text(strings + entry.d_un.d_val));
    if (entry.d_tag == DT_RPATH || entry.d_tag == DT_RUNPATH)
      AddDirectories(image.Text(strings + entry.d_un.d_val), origin.get(), needs.directories);
  }
  return needs;
}

}  // namespace gstmoshi
