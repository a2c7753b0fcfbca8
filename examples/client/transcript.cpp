// SPDX-License-Identifier: MIT
#include "transcript.h"

#include <cerrno>
#include <cstring>

#include "../app.h"

namespace client {

std::string printable(std::string_view text) {
  std::string kept;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    const auto next = static_cast<unsigned char>(i + 1 < text.size() ? text[i + 1] : 0);
    const bool control = (byte < 0x20 && byte != '\n' && byte != '\t') || byte == 0x7f;
    // U+0080 to U+009F: some terminals take them for the beginning of a command, too.
    const bool high_control = byte == 0xc2 && next >= 0x80 && next < 0xa0;
    if (high_control) ++i;
    if (!control && !high_control) kept.push_back(text[i]);
  }
  return kept;
}

std::optional<Transcript> Transcript::make(const std::string& path) {
  if (!path.empty() && !app::writable(path)) return std::nullopt;
  return Transcript(path);
}

bool Transcript::begin() {
  if (path_.empty() || file_) return true;
  file_.reset(std::fopen(path_.c_str(), "wb"));
  return file_ || app::fail("cannot write " + path_ + ": " + std::strerror(errno));
}

void Transcript::write(std::string_view piece) {
  const std::string text = printable(piece);
  written_ = written_ || !text.empty();
  put(stdout, text);
  if (file_) put(file_.get(), text);
}

void Transcript::put(FILE* file, std::string_view text) {
  const bool good = std::fwrite(text.data(), 1, text.size(), file) == text.size() && std::fflush(file) == 0;
  if (good || !problem_.empty()) return;
  problem_ = "cannot write " + (file == stdout ? "the text" : path_) + ": " + std::strerror(errno);
}

bool Transcript::finish() {
  if (written_) put(stdout, "\n");
  return problem_.empty() || app::fail(problem_);
}

}  // namespace client
