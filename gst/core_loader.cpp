// SPDX-License-Identifier: MIT
#include "core_loader.h"

#include <dlfcn.h>
#include <link.h>

#include <cstdlib>
#include <cstring>
#include <mutex>
#include <string>
#include <vector>

#include "elf_file.h"
#include "glib_ptr.h"

namespace gstmoshi {

GST_DEBUG_CATEGORY(moshi_core_debug);
#define GST_CAT_DEFAULT moshi_core_debug

void InitCoreDebug() { GST_DEBUG_CATEGORY_INIT(moshi_core_debug, "moshicore", 0, "Moshi inference core"); }

namespace {

constexpr char kCoreName[] = "libmoshi-core.so";

void Fail(MoshiError& error, MoshiStatus status, const std::string& message, const std::string& detail) {
  error.status = status;
  g_strlcpy(error.message, message.c_str(), sizeof error.message);
  g_strlcpy(error.detail, detail.c_str(), sizeof error.detail);
}

std::string RealPath(const std::string& path) {
  StringPtr real(realpath(path.c_str(), nullptr));
  return real ? real.get() : path;
}

/** The directory that holds this plugin; empty if the linker does not say. */
std::string PluginDirectory() {
  Dl_info info;
  if (dladdr(reinterpret_cast<void*>(&InitCoreDebug), &info) == 0 || info.dli_fname == nullptr) return {};
  StringPtr directory(g_path_get_dirname(info.dli_fname));
  return RealPath(directory.get());
}

std::vector<std::string> Candidates() {
  const char* chosen = std::getenv("MOSHI_CORE");
  if (chosen != nullptr && chosen[0] != '\0') return {chosen};
  const std::string beside = PluginDirectory();
  // An installed plugin must not pick up the core of a build folder that happens to be there still.
  std::vector<std::string> paths;
  if (beside == MOSHI_PLUGIN_BUILD_DIR) paths.push_back(MOSHI_CORE_BUILD_PATH);
  paths.push_back(MOSHI_CORE_INSTALL_PATH);
  if (!beside.empty()) {
    paths.push_back(beside + "/../moshi/" + kCoreName);
    paths.push_back(beside + "/" + kCoreName);
  }
  return paths;
}

bool IsLibTorch(const std::string& name) { return name.starts_with("libtorch_cpu.") || name.starts_with("libc10."); }

/** Paths of the LibTorch libraries that this process has mapped already. */
std::vector<std::string> MappedLibTorch() {
  std::vector<std::string> paths;
  auto visit = [](dl_phdr_info* info, size_t, void* user) {
    const char* slash = info->dlpi_name == nullptr ? nullptr : std::strrchr(info->dlpi_name, '/');
    if (slash != nullptr && IsLibTorch(slash + 1))
      static_cast<std::vector<std::string>*>(user)->push_back(info->dlpi_name);
    return 0;
  };
  dl_iterate_phdr(visit, &paths);
  return paths;
}

/** Where the dynamic linker would find `library` for the core; empty if that cannot be told from here. */
std::string PathForCore(const ElfNeeds& needs, const std::string& library) {
  for (const std::string& directory : needs.directories) {
    const std::string path = directory + "/" + library;
    if (g_file_test(path.c_str(), G_FILE_TEST_EXISTS)) return RealPath(path);
  }
  return {};
}

/**
 * Two copies of LibTorch in one process abort it (both register the same protobuf descriptors), so a copy other than
 * the core's own is an error. False with `error` filled if there is one.
 */
bool NoForeignLibTorch(const std::string& core, MoshiError& error) {
  const std::optional<ElfNeeds> needs = ReadElfNeeds(core);
  if (!needs) return true;
  for (const std::string& library : needs->libraries) {
    if (!IsLibTorch(library)) continue;
    const std::string wanted = PathForCore(*needs, library);
    if (wanted.empty()) continue;
    for (const std::string& mapped : MappedLibTorch()) {
      StringPtr name(g_path_get_basename(mapped.c_str()));
      if (library != name.get() || RealPath(mapped) == wanted) continue;
      Fail(error, MOSHI_ERR_CONFLICT,
           "Another LibTorch is already loaded in this process (" + mapped + "), and the core needs " + wanted +
               ". Run the element in a process of its own, or build the core with that LibTorch (-Dlibtorch=PREFIX).",
           "two copies of LibTorch abort the process; core: " + core);
      return false;
    }
  }
  return true;
}

void LogCoreLine(void*, MoshiLogLevel level, const char* part, const char* message) {
  switch (level) {
    case MOSHI_LOG_ERROR:
      GST_ERROR("%s: %s", part, message);
      break;
    case MOSHI_LOG_WARNING:
      GST_WARNING("%s: %s", part, message);
      break;
    case MOSHI_LOG_INFO:
      GST_INFO("%s: %s", part, message);
      break;
    default:
      GST_DEBUG("%s: %s", part, message);
      break;
  }
}

std::string HintFor(const std::string& problem) {
  if (problem.find("static TLS") != std::string::npos)
    return " Start the program with GLIBC_TUNABLES=glibc.rtld.optional_static_tls=16384 in its environment.";
  if (problem.find("undefined symbol") != std::string::npos)
    return " It was built for another LibTorch: rebuild it with the one that is installed.";
  if (problem.find("cannot open shared object file") != std::string::npos)
    return " Install what it needs (run make), or rebuild it with -Dlibtorch=PREFIX.";
  return " Rebuild it, or name another with MOSHI_CORE.";
}

const MoshiCoreApi* Open(const std::string& path, MoshiError& error) {
  if (!NoForeignLibTorch(path, error)) return nullptr;
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    const char* reason = dlerror();
    const std::string problem = reason != nullptr ? reason : "unknown reason";
    Fail(error, MOSHI_ERR_NOT_SUPPORTED, "The inference core " + path + " cannot be loaded." + HintFor(problem),
         problem);
    return nullptr;
  }
  auto get_api = reinterpret_cast<MoshiCoreGetApiFn>(dlsym(library, MOSHI_CORE_GET_API_SYMBOL));
  const MoshiCoreApi* api = get_api != nullptr ? get_api(MOSHI_CORE_ABI) : nullptr;
  if (api == nullptr || api->abi != MOSHI_CORE_ABI || api->size < sizeof(MoshiCoreApi)) {
    Fail(error, MOSHI_ERR_NOT_SUPPORTED,
         path + " does not serve version " + std::to_string(MOSHI_CORE_ABI) +
             " of the core's interface. Install plugin and core of one release.",
         get_api != nullptr ? "the ABI differs" : "no symbol " MOSHI_CORE_GET_API_SYMBOL);
    return nullptr;
  }
  GST_INFO("loaded %s: core %s on %s", path.c_str(), api->version, api->backend_version);
  api->set_log(LogCoreLine, nullptr);
  return api;
}

const MoshiCoreApi* Find(MoshiError& error) {
  const std::vector<std::string> paths = Candidates();
  std::string tried;
  for (const std::string& path : paths) {
    // A bare name is looked up by the dynamic linker.
    if (path.find('/') == std::string::npos || g_file_test(path.c_str(), G_FILE_TEST_EXISTS)) return Open(path, error);
    tried += (tried.empty() ? "" : ", ") + path;
  }
  Fail(error, MOSHI_ERR_NOT_SUPPORTED,
       std::string("The inference core ") + kCoreName +
           " was not found. Build it (make) or install it, or name its file in the environment variable MOSHI_CORE.",
       "looked for " + tried);
  return nullptr;
}

gpointer FindOnThread(gpointer error) { return const_cast<MoshiCoreApi*>(Find(*static_cast<MoshiError*>(error))); }

}  // namespace

const MoshiCoreApi* LoadCore(MoshiError& error) {
  static std::mutex mutex;
  static const MoshiCoreApi* api = nullptr;
  std::lock_guard lock(mutex);
  if (api != nullptr) return api;
  // On a thread of its own: LibTorch's and OpenMP's static initializers leave per-thread state behind, which must not
  // end up in the application's thread.
  GError* failure = nullptr;
  GThread* thread = g_thread_try_new("moshi-core", FindOnThread, &error, &failure);
  if (thread != nullptr) {
    api = static_cast<const MoshiCoreApi*>(g_thread_join(thread));
  } else {
    Fail(error, MOSHI_ERR_INTERNAL, "No thread can be started to load the inference core. Close other programs.",
         failure->message);
    g_error_free(failure);
  }
  return api;
}

}  // namespace gstmoshi
