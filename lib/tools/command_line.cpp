// SPDX-License-Identifier: MIT
#include "tools/command_line.h"

#include <cstdio>
#include <string_view>

namespace moshi::tools {

void parse_options(int argc, char** argv,
                   const std::function<bool(const std::string& name, const std::string& value)>& take) {
  for (int i = 1; i < argc; i += 2) {
    const std::string name = argv[i];
    if (i + 1 >= argc) throw UsageError(name + " needs a value");
    if (!take(name, argv[i + 1])) throw UsageError("Unknown option " + name);
  }
}

int run_tool(const char* name, const char* usage, int argc, char** argv, const std::function<void()>& run) {
  for (int i = 1; i < argc; ++i) {
    if (std::string_view(argv[i]) == "--help") return std::fputs(usage, stdout) < 0;
  }
  try {
    run();
    return 0;
  } catch (const UsageError& e) {
    std::fprintf(stderr, "%s: %s\n%s\n", name, e.what(), usage);
    return 2;
  } catch (const Error& e) {
    std::fprintf(stderr, "%s: %s\n", name, e.what());
    if (!e.detail().empty()) std::fprintf(stderr, "  %s\n", e.detail().c_str());
    return e.status() == MOSHI_ERR_INVALID_ARGUMENT ? 2 : 1;
  }
}

}  // namespace moshi::tools
