// SPDX-License-Identifier: MIT
#include "checkpoint/hub_fetch.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "checkpoint/hub_download.h"
#include "checkpoint/hub_remote.h"
#include "checkpoint/hub_store.h"
#include "checkpoint/model_resolver.h"
#include "common/error.h"
#include "common/log.h"

namespace moshi::checkpoint {
namespace {

// Each round learns more of a model: where its revision stands, its configuration, its other files.
constexpr int kMostRounds = 16;

std::string key_of(const HubId& id) { return id.repository() + "@" + id.revision; }

/// A fetch, and what it has learnt of the hub so far.
class Fetch final : public HubView {
 public:
  Fetch(const FetchRequest& request, const FetchProgress& progress) : request_(request), progress_(progress) {}

  void run() {
    for (int round = 0; round < kMostRounds; ++round) {
      Resolver resolver(*this);
      resolve(resolver);
      if (resolver.missing().empty()) return finish();
      if (hub_offline()) resolver.throw_if_missing("");
      if (!settle_commits(resolver.missing())) fetch(resolver.missing());
    }
    throw Error(MOSHI_ERR_FORMAT, "The model \"" + request_.model + "\" refers to files without end");
  }

  // A revision is looked at where it stood when the fetch began, even if the hub moves it meanwhile.
  std::optional<std::string> snapshot(const HubId& id) const override {
    const auto it = commits_.find(key_of(id));
    if (it == commits_.end()) return find_snapshot(id);
    return hub_repository_directory(id) + "/snapshots/" + it->second.second;
  }

  bool absent(const HubId& id, const std::string& file) const override {
    if (absent_.count({key_of(id), file})) return true;
    return !commits_.count(key_of(id)) && is_marked_absent(id, file);
  }

 private:
  void resolve(Resolver& resolver) const {
    if (request_.roles & MOSHI_ROLE_LM) {
      resolve_language_model({request_.model, request_.weights, request_.config, request_.tokenizer, request_.lora},
                             resolver);
    } else {
      resolve_model({request_.model, request_.weights}, resolver);
    }
  }

  /// Not before it is needed: what is all there works whatever the network's settings are.
  HubRemote& remote() {
    if (!remote_) remote_.emplace(request_.limits, [this] { report(); });
    return *remote_;
  }

  const RemoteFile& look_up(const HubId& id, const std::string& file) {
    const auto [it, is_new] = known_.try_emplace({key_of(id), file});
    if (!is_new) return it->second;
    current_ = file;
    const auto commit = commits_.find(key_of(id));
    it->second = remote().look_up(id, commit == commits_.end() ? id.revision : commit->second.second, file);
    if (!it->second.exists) absent_.insert({key_of(id), file});
    return it->second;
  }

  /// Finds out where the revisions stand; whether that was news, which may change what is missing.
  bool settle_commits(const std::vector<MissingFile>& missing) {
    bool is_news = false;
    for (const MissingFile& file : missing) {
      if (commits_.count(key_of(file.id))) continue;
      const RemoteFile& found = look_up(file.id, file.file);
      if (!found.exists) refuse_if_required(file);
      if (!found.commit.empty()) commits_[key_of(file.id)] = {file.id, found.commit};
      is_news = true;
    }
    return is_news;
  }

  void refuse_if_required(const MissingFile& file) const {
    if (file.need == Need::kOptional) return;
    throw Error(MOSHI_ERR_NOT_FOUND,
                "The model \"" + file.id.repository() + "\" on the hub" +
                    (file.id.revision == "main" ? "" : " at revision \"" + file.id.revision + "\"") +
                    " has no file \"" + file.file + "\" (" + file.why + ")");
  }

  void fetch(const std::vector<MissingFile>& missing) {
    struct Item {
      StoredFile file;
      uint64_t bytes;
    };
    std::vector<Item> items;
    uint64_t batch_bytes = 0, bytes_to_come = 0;
    bool is_all = true;
    for (const MissingFile& file : missing) {
      const RemoteFile& found = look_up(file.id, file.file);
      if (!found.exists) {
        refuse_if_required(file);
        continue;
      }
      items.push_back({{file.id, commits_.at(key_of(file.id)).second, file.file, found.etag}, found.bytes});
      const StoredFile& stored = items.back().file;
      batch_bytes += found.bytes;
      if (!stored.has_blob()) bytes_to_come += found.bytes - std::min(found.bytes, stored.partial_bytes());
      is_all = is_all && !file.is_config;
    }
    check_disk_space(bytes_to_come);
    // A configuration comes alone: how much there is besides is not known before.
    total_ = is_all ? before_ + batch_bytes : 0;
    for (const Item& item : items) {
      current_ = item.file.name;
      log(MOSHI_LOG_INFO, "hub",
          "fetching \"" + item.file.name + "\" of \"" + item.file.id.repository() + "\", " +
              std::to_string(item.bytes) + " bytes");
      download(remote(), item.file, item.bytes, [&](uint64_t bytes) { here_ = bytes; });
      before_ += item.bytes;
      here_ = 0;
    }
  }

  /// Only now do the revisions point at what was fetched: before, another program would find a part of it.
  void finish() {
    for (const auto& [key, commit] : commits_) write_reference(commit.first, commit.second);
    for (const auto& [key, file] : absent_) {
      const auto commit = commits_.find(key);
      if (commit != commits_.end()) mark_absent(commit->second.first, commit->second.second, file);
    }
    if (before_ > 0) report();
  }

  void report() {
    if (progress_ && !progress_(current_, before_ + here_, total_)) {
      throw Error(MOSHI_ERR_CANCELLED, "Fetching the model was cancelled; what came is kept for the next time");
    }
  }

  const FetchRequest& request_;
  const FetchProgress& progress_;
  std::optional<HubRemote> remote_;
  std::map<std::string, std::pair<HubId, std::string>> commits_;     ///< by key_of()
  std::map<std::pair<std::string, std::string>, RemoteFile> known_;  ///< by key_of() and file
  std::set<std::pair<std::string, std::string>> absent_;             ///< likewise
  std::string current_;
  uint64_t before_ = 0, here_ = 0, total_ = 0;  ///< bytes: of files that are there, of the current one, of all
};

}  // namespace

void fetch_model(const FetchRequest& request, const FetchProgress& progress) { Fetch(request, progress).run(); }

}  // namespace moshi::checkpoint
