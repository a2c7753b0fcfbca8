// SPDX-License-Identifier: MIT
// The model's text, as it comes, to standard output and to a file.
#pragma once

#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace client {

/// Text from elsewhere without what would command a terminal.
std::string printable(std::string_view text);

class Transcript {
 public:
  /// An empty path: no file. What is there is not touched before begin(). Nothing: an error that has been said.
  static std::optional<Transcript> make(const std::string& path);

  /// False, and said, if the file cannot be written.
  bool begin();
  void write(std::string_view piece);
  /// False, and said, if not all could be written.
  bool finish();

 private:
  explicit Transcript(std::string path) : path_(std::move(path)) {}

  void put(FILE* file, std::string_view text);

  std::string path_, problem_;
  std::unique_ptr<FILE, int (*)(FILE*)> file_{nullptr, &std::fclose};
  bool written_ = false;
};

}  // namespace client
