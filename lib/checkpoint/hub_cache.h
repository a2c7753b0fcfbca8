// SPDX-License-Identifier: MIT
// The Hugging Face client's cache: model ids, its place, the layout inside, and the variables that move it.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace moshi::checkpoint {

/// A model on the hub, as people write it: owner/name, or owner/name@revision.
struct HubId {
  std::string owner;
  std::string name;
  std::string revision = "main";  ///< a branch, a tag or a commit

  std::string repository() const { return owner + "/" + name; }
};

/// Nothing if `text` cannot be such an id (which says nothing about whether the hub has it).
std::optional<HubId> parse_hub_id(std::string_view text);

/// Where the client keeps its repositories: HF_HUB_CACHE, HF_HOME or the user's cache directory.
std::string hub_cache_directory();

/// Where the client keeps what is not files of models, such as its token: HF_HOME or the user's cache directory.
std::string hub_home_directory();

/// The folder of a repository in the cache, whether it is there or not.
std::string hub_repository_directory(const HubId& id);

/// The directory with the files of that revision, if any of them has been fetched.
std::optional<std::string> find_snapshot(const HubId& id);

/// Whether the cache knows that the repository has no such file at that revision.
bool is_marked_absent(const HubId& id, const std::string& file);

/// Whether the user forbids the network: HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE.
bool hub_offline();

/// A variable of the environment; "" if it is not set. And whether it is switched on, as the client understands that.
std::string environment_text(const char* name);
bool environment_flag(const char* name);

/// Whether `text` is fit to be the name of a commit, or of a blob, in the cache.
bool is_cache_name(std::string_view text);

/// `hf download ...`, the command that fetches these files.
std::string download_command(const HubId& id, const std::string& files);

/// Replaces a leading "~/" by the home directory.
std::string expand_home(const std::string& path);

}  // namespace moshi::checkpoint
