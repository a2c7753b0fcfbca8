// SPDX-License-Identifier: MIT
// The files of the page: those in the program, or those of a folder.
#pragma once

#include <gio/gio.h>

#include <memory>
#include <optional>
#include <string>

#include "../app.h"

namespace server {

using SharedBytes = std::unique_ptr<GBytes, app::Deleter<g_bytes_unref>>;

struct PageFile {
  SharedBytes bytes;
  std::string type;  ///< As Content-Type has it.
  std::string tag;   ///< As ETag has it; changes with the content.
};

class PageFiles {
 public:
  /// `folder` takes the place of the page in the program; "none": no page.
  explicit PageFiles(const std::string& folder) : folder_(folder) {}

  /// `path` begins with a slash and is decoded; "/" is "/index.html". Never gives what is outside of the folder, nor
  /// what begins with a dot.
  std::optional<PageFile> read(const std::string& path) const;
  bool none() const { return folder_ == "none"; }
  bool foreign() const { return !none() && !folder_.empty(); }

 private:
  std::string folder_;
};

std::string content_type(const std::string& path);

}  // namespace server
