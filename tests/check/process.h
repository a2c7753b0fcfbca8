// SPDX-License-Identifier: MIT
// Running GStreamer's tools in processes of their own, with an environment of their own.
#pragma once

#include <map>
#include <string>
#include <vector>

namespace check {

struct Ran {
  int exit = -1;  ///< exit status; -1 if the process was killed
  std::string out, err;
  bool Says(const std::string& word) const {
    return out.find(word) != std::string::npos || err.find(word) != std::string::npos;
  }
};

/** Runs a program to its end. `changes`: variables to set; an empty value unsets. A registry that is not there yet. */
Ran Run(const std::vector<std::string>& arguments, const std::map<std::string, std::string>& changes = {});
/** gst-launch-1.0 with this line. */
Ran RunLine(const std::string& line, const std::map<std::string, std::string>& changes = {});

}  // namespace check
