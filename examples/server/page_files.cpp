// SPDX-License-Identifier: MIT
#include "page_files.h"

#include <cstdlib>
#include <cstring>

namespace server {
namespace {

constexpr const char* kResources = "/moshi-server/page";
constexpr size_t kMostBytes = 64 << 20;

bool harmless(const std::string& path) {
  if (path.empty() || path[0] != '/' || path.find('\\') != std::string::npos) return false;
  for (size_t at = 0; at != std::string::npos; at = path.find('/', at + 1)) {
    const char next = at + 1 < path.size() ? path[at + 1] : '/';
    if (next == '/' || next == '.') return false;
  }
  return true;
}

/// Links followed; empty if there is no such file.
std::string real_path(const std::string& path) {
  const std::unique_ptr<char, app::Deleter<std::free>> real(realpath(path.c_str(), nullptr));
  return real ? real.get() : "";
}

SharedBytes read_file(const std::string& folder, const std::string& path) {
  const std::string root = real_path(folder), file = real_path(folder + path);
  if (root.empty() || file.compare(0, root.size() + 1, root == "/" ? "/" : root + "/") != 0) return nullptr;
  if (!g_file_test(file.c_str(), G_FILE_TEST_IS_REGULAR)) return nullptr;
  GStatBuf facts;
  if (g_stat(file.c_str(), &facts) != 0 || static_cast<size_t>(facts.st_size) > kMostBytes) return nullptr;
  gchar* text = nullptr;
  gsize size = 0;
  if (!g_file_get_contents(file.c_str(), &text, &size, nullptr)) return nullptr;
  return SharedBytes(g_bytes_new_take(text, size));
}

}  // namespace

std::string content_type(const std::string& path) {
  constexpr struct {
    const char *ending, *type;
  } kTypes[] = {
      {".html", "text/html; charset=utf-8"},
      {".css", "text/css; charset=utf-8"},
      {".js", "text/javascript; charset=utf-8"},
      {".mjs", "text/javascript; charset=utf-8"},
      {".json", "application/json"},
      {".map", "application/json"},
      {".webmanifest", "application/manifest+json"},
      {".svg", "image/svg+xml"},
      {".png", "image/png"},
      {".jpg", "image/jpeg"},
      {".jpeg", "image/jpeg"},
      {".gif", "image/gif"},
      {".webp", "image/webp"},
      {".ico", "image/vnd.microsoft.icon"},
      {".woff", "font/woff"},
      {".woff2", "font/woff2"},
      {".ttf", "font/ttf"},
      {".mp3", "audio/mpeg"},
      {".wasm", "application/wasm"},
      {".txt", "text/plain; charset=utf-8"},
  };
  for (const auto& one : kTypes) {
    if (path.ends_with(one.ending)) return one.type;
  }
  return "application/octet-stream";
}

std::optional<PageFile> PageFiles::read(const std::string& asked) const {
  const std::string path = asked == "/" ? "/index.html" : asked;
  if (none() || !harmless(path)) return std::nullopt;
  PageFile file;
  file.bytes =
      folder_.empty()
          ? SharedBytes(g_resources_lookup_data((kResources + path).c_str(), G_RESOURCE_LOOKUP_FLAGS_NONE, nullptr))
          : read_file(folder_, path);
  if (!file.bytes) return std::nullopt;
  file.type = content_type(path);
  const app::Text sum(g_compute_checksum_for_bytes(G_CHECKSUM_SHA256, file.bytes.get()));
  file.tag = "\"" + std::string(sum.get(), 32) + "\"";
  return file;
}

}  // namespace server
