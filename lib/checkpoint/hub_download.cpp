// SPDX-License-Identifier: MIT
#include "checkpoint/hub_download.h"

#include <algorithm>
#include <chrono>

#include "checkpoint/hub_digest.h"
#include "common/error.h"
#include "common/log.h"

namespace moshi::checkpoint {
namespace {

constexpr std::chrono::milliseconds kLockPause{100};

/// Thrown within a request whose bytes are not those that the partial file needs next.
struct WrongBytes {
  std::string what;
};

class Download {
 public:
  Download(HubRemote& remote, const StoredFile& file, uint64_t bytes, const HaveBytes& have)
      : remote_(remote), file_(file), bytes_(bytes), have_(have), partial_(file.partial()), digest_(file.etag, bytes) {}

  void run() {
    take_up_what_is_there();
    for (int tries = 0;; ++tries) {
      fill();
      const std::string digest = digest_.hex();
      if (digest == file_.etag) break;
      partial_.clear();
      if (tries > 0) {
        partial_.remove();
        throw Error(MOSHI_ERR_FORMAT, "\"" + file_.name + "\" of \"" + file_.id.repository() +
                                          "\" came damaged twice: its checksum is " + digest + " instead of " +
                                          file_.etag);
      }
      log(MOSHI_LOG_WARNING, "hub", "\"" + file_.name + "\" came damaged (checksum " + digest + "); fetching it again");
      digest_.restart();
    }
    partial_.finish(file_.blob());
  }

 private:
  void start_over() {
    partial_.clear();
    digest_.restart();
    have_(0);
  }

  /// What an earlier call has left, by this program or the hub's own client, counts once its checksum is right.
  void take_up_what_is_there() {
    if (partial_.bytes() > bytes_) partial_.clear();
    have_(partial_.bytes());
    partial_.read_all([&](std::span<const std::byte> piece) {
      digest_.add(piece);
      remote_.http().pause(std::chrono::milliseconds(0));
    });
  }

  void take(const HttpResponse& head, std::span<const std::byte> piece, bool& is_first) {
    if (is_first) check_begin(head);
    is_first = false;
    if (partial_.bytes() + piece.size() > bytes_) throw WrongBytes{"more came than the hub announced"};
    partial_.append(piece);
    digest_.add(piece);
    have_(partial_.bytes());
  }

  void check_begin(const HttpResponse& head) {
    if (partial_.bytes() == 0) return;
    // A server that does not know ranges sends all again.
    if (head.status == 200) return start_over();
    const std::string expected = "bytes " + std::to_string(partial_.bytes()) + "-";
    if (!head.header("content-range").starts_with(expected)) throw WrongBytes{"another part came than was asked for"};
  }

  HttpResponse request() {
    bool is_first = true;
    try {
      return remote_.get(
          file_.id, file_.commit, file_.name, partial_.bytes(),
          [&](const HttpResponse& head, std::span<const std::byte> piece) { take(head, piece, is_first); });
    } catch (const WrongBytes& wrong) {
      start_over();
      HttpResponse response;
      response.failure = wrong.what;
      return response;
    }
  }

  /// Requests until all bytes are there.
  void fill() {
    int failures = 0;
    // Only what was never reached before counts as going on: a server that makes us start over must not do so forever.
    uint64_t furthest = partial_.bytes();
    while (partial_.bytes() < bytes_) {
      HttpResponse response = request();
      if (partial_.bytes() == bytes_) return;
      if (response.is_success()) response.failure = "the connection ended early";
      if (!is_worth_another_try(response)) give_up(response);
      failures = partial_.bytes() > furthest ? 1 : failures + 1;
      furthest = std::max(furthest, partial_.bytes());
      // The partial file is of something else than what the hub has now.
      if (response.status == 416) start_over();
      if (failures > remote_.limits().retries) give_up(response);
      log(MOSHI_LOG_INFO, "hub",
          "\"" + file_.name + "\" broke off at " + std::to_string(partial_.bytes()) + " of " + std::to_string(bytes_) +
              " bytes (" + response.failure + "); going on");
      remote_.pause(failures, response);
    }
  }

  [[noreturn]] void give_up(const HttpResponse& response) {
    remote_.give_up(file_.name, response,
                    "; the " + std::to_string(partial_.bytes()) + " of " + std::to_string(bytes_) +
                        " bytes that came are kept, and the next attempt goes on from there");
  }

  HubRemote& remote_;
  const StoredFile& file_;
  const uint64_t bytes_;
  const HaveBytes& have_;
  PartialFile partial_;
  HubDigest digest_;
};

}  // namespace

void download(HubRemote& remote, const StoredFile& file, uint64_t bytes, const HaveBytes& have) {
  if (!file.is_there()) {
    const CacheLock lock(file.lock(), [&] {
      have(file.has_blob() ? bytes : std::min(bytes, file.partial_bytes()));
      remote.http().pause(kLockPause);
    });
    if (!file.has_blob()) {
      make_parents(file.blob());
      Download(remote, file, bytes, have).run();
    }
    file.link();
  }
  have(bytes);
}

}  // namespace moshi::checkpoint
