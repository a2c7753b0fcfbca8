// SPDX-License-Identifier: MIT
// File references to paths. What the cache lacks of the hub's models is collected, so that one walk over a model names
// everything to fetch.
#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "checkpoint/hub_cache.h"
#include "checkpoint/model_files.h"

namespace moshi::checkpoint {

/// What is known of the hub without asking it. This one is what the cache knows.
class HubView {
 public:
  virtual ~HubView() = default;
  /// The directory with the files of that revision; it may lack any of them.
  virtual std::optional<std::string> snapshot(const HubId& id) const { return find_snapshot(id); }
  /// Whether the repository is known to lack the file.
  virtual bool absent(const HubId& id, const std::string& file) const { return is_marked_absent(id, file); }
};

/// A directory laid out like a repository: the user's own, or the cache's.
struct Place {
  std::filesystem::path directory;  ///< "": of a hub model that is not in the cache
  std::optional<HubId> hub;
};

enum class Need { kRequired, kOptional };

struct MissingFile {
  HubId id;
  std::string file;
  std::string why;
  Need need;
  bool is_config = false;  ///< a config.json, which names the other files
};

class Resolver {
 public:
  explicit Resolver(const HubView& hub) : hub_(hub) {}

  Place hub_place(const HubId& id) const;
  /// The path of a file named by a configuration, or by default; "" if it is optional and not there, or missing().
  std::string file(const Place& place, const std::string& reference, const std::string& why, Need need);
  /// The path of a file that a property names instead of the model's own; "" for "" and if it is missing().
  std::string given(const std::string& reference, const std::string& property);
  /// The path of config.json; "" if there is none, which legacy repositories mean by it, or if it is missing().
  std::string config(const Place& place);

  bool has(const Place& place, const std::string& name) const;
  bool knows_absent(const Place& place, const std::string& name) const;
  void add_missing(const Place& place, const std::string& name, const std::string& why, Need need);
  const std::vector<MissingFile>& missing() const { return missing_; }
  /// Throws for the first of missing(). `usual_files` are those to name to someone who has nothing of the model.
  void throw_if_missing(const std::string& usual_files) const;

 private:
  std::string hub_file(const std::string& reference, const std::string& why, Need need);

  const HubView& hub_;
  std::vector<MissingFile> missing_;
};

/// Of a request that names neither a model nor weights.
inline constexpr const char* kNoModel =
    "No model is named: set the model property to a directory or a hub id (such as kyutai/moshiko-pytorch-bf16)";

bool is_file(const std::filesystem::path& path);
bool is_directory(const std::filesystem::path& path);
bool is_safetensors_name(const std::filesystem::path& path);
/// `text` without file://, and with the home directory for "~".
std::string local_path(const std::string& text);
/// The repository and the file of hf://owner/name/file. Throws Error(FORMAT).
std::pair<HubId, std::string> parse_hub_reference(const std::string& reference);
/// A name from config.json; "" where there is none.
std::string configured(const nlohmann::json& config, const char* key, const std::string& origin);

/// find_model() and find_language_model() without an error for what is missing().
ModelFiles resolve_model(const ModelRequest& request, Resolver& resolver);
LmFiles resolve_language_model(const LmRequest& request, Resolver& resolver);

}  // namespace moshi::checkpoint
