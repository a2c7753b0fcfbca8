// SPDX-License-Identifier: MIT
#include "text/module_loader.h"

#include <dlfcn.h>

#include <filesystem>
#include <system_error>

#include "common/error.h"
#include "common/own_folder.h"
#include "text/build_config.h"

namespace moshi::text {
namespace {

constexpr const char* kName = "libmoshi-text.so";

/// Local alone is not enough: a program that links the core has libc10, or a protobuf of its own, in the global scope,
/// which comes before a local one unless that is asked to be deep. Sanitizers refuse deep ones.
int scope() {
  const bool sanitized = dlsym(RTLD_DEFAULT, "__sanitizer_print_stack_trace") != nullptr;
  return RTLD_LOCAL | (sanitized ? 0 : RTLD_DEEPBIND);
}

std::string find_module() {
  const std::filesystem::path& directory = own_folder();
  const std::filesystem::path beside = directory / kName;
  // Only a build's own programs, which contain the core, may take the build's: an installed core must not.
  std::error_code error;
  const bool of_build = directory.empty() || directory.native().starts_with(MOSHI_BUILD_DIR "/");
  return of_build && !std::filesystem::exists(beside, error) ? std::string(MOSHI_BUILD_DIR "/lib/") + kName
                                                             : beside.native();
}

}  // namespace

const MoshiTextApi& open_module(const std::string& path) {
  void* const library = dlopen(path.c_str(), RTLD_NOW | scope());
  if (library == nullptr) {
    const char* const reason = dlerror();
    throw Error(
        MOSHI_ERR_NOT_SUPPORTED,
        "cannot load " + path + ", which reads tokenizers: install Debian's libsentencepiece0, or the core again",
        reason == nullptr ? "" : reason);
  }
  const auto get_api = reinterpret_cast<MoshiTextGetApi>(dlsym(library, MOSHI_TEXT_GET_API_SYMBOL));
  const MoshiTextApi* const api = get_api == nullptr ? nullptr : get_api(MOSHI_TEXT_ABI);
  if (api == nullptr)
    throw Error(MOSHI_ERR_NOT_SUPPORTED, path + " is of another version than the core: install both again");
  return *api;
}

const MoshiTextApi& module_api() {
  static const MoshiTextApi& api = open_module(find_module());
  return api;
}

}  // namespace moshi::text
