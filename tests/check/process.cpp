// SPDX-License-Identifier: MIT
#include "process.h"

#include <glib.h>
#include <glib/gstdio.h>
#include <sys/wait.h>

#include "handles.h"

namespace check {

Ran Run(const std::vector<std::string>& arguments, const std::map<std::string, std::string>& changes) {
  std::vector<char*> argv;
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  char* folder = g_dir_make_tmp("moshi-registry-XXXXXX", nullptr);
  const std::string registry = std::string(folder) + "/registry.bin";
  char** environment = g_environ_setenv(g_get_environ(), "GST_REGISTRY", registry.c_str(), TRUE);
  environment = g_environ_unsetenv(environment, "GST_TRACERS");
  for (const auto& [name, value] : changes)
    environment = value.empty() ? g_environ_unsetenv(environment, name.c_str())
                                : g_environ_setenv(environment, name.c_str(), value.c_str(), TRUE);
  Ran ran;
  char *out = nullptr, *err = nullptr;
  int status = 0;
  GError* error = nullptr;
  const gboolean started = g_spawn_sync(nullptr, argv.data(), environment, G_SPAWN_SEARCH_PATH, nullptr, nullptr, &out,
                                        &err, &status, &error);
  fail_unless(started, "cannot run %s: %s", argv[0], error != nullptr ? error->message : "");
  if (WIFEXITED(status)) ran.exit = WEXITSTATUS(status);
  ran.out = out;
  ran.err = err;
  g_free(out);
  g_free(err);
  g_strfreev(environment);
  g_remove(registry.c_str());
  g_rmdir(folder);
  g_free(folder);
  return ran;
}

Ran RunLine(const std::string& line, const std::map<std::string, std::string>& changes) {
  std::vector<std::string> arguments = {"gst-launch-1.0"};
  char** words = g_strsplit(line.c_str(), " ", -1);
  for (char** word = words; *word != nullptr; ++word)
    if (**word != '\0') arguments.push_back(*word);
  g_strfreev(words);
  return Run(arguments, changes);
}

}  // namespace check
