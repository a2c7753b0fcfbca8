// SPDX-License-Identifier: MIT
// What the Hugging Face client has fetched: model ids, the place of its cache, the layout inside.
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

/// The directory with the files of that revision, if any of them has been fetched.
std::optional<std::string> find_snapshot(const HubId& id);

/// `hf download ...`, the command that fetches these files.
std::string download_command(const HubId& id, const std::string& files);

/// Replaces a leading "~/" by the home directory.
std::string expand_home(const std::string& path);

}  // namespace moshi::checkpoint
