// SPDX-License-Identifier: MIT
// What the tools share: options of the form "--name value", and how a tool ends.
#pragma once

#include <charconv>
#include <functional>
#include <string>

#include "common/error.h"

namespace moshi::tools {

/// A command line that is not understood: run_tool() shows the usage behind it.
class UsageError : public Error {
 public:
  explicit UsageError(const std::string& what) : Error(MOSHI_ERR_INVALID_ARGUMENT, what) {}
};

/// The value of an option as a number of type T.
template <class T>
T number(const std::string& option, const std::string& text) {
  T value{};
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  if (parsed.ec != std::errc() || parsed.ptr != text.data() + text.size()) {
    throw UsageError(option + " needs a number, not \"" + text + "\"");
  }
  return value;
}

/// Calls `take` with each option and its value; it answers whether it knows the option.
void parse_options(int argc, char** argv,
                   const std::function<bool(const std::string& name, const std::string& value)>& take);

/// A tool's main(): shows `usage` for --help, else runs it. Errors go to standard error behind `name`; the exit status
/// is 2 for the caller's mistakes and 1 for others.
int run_tool(const char* name, const char* usage, int argc, char** argv, const std::function<void()>& run);

}  // namespace moshi::tools
