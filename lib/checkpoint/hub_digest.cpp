// SPDX-License-Identifier: MIT
#include "checkpoint/hub_digest.h"

#include <utility>

namespace moshi::checkpoint {
namespace {

bool is_hex(const std::string& text) { return text.find_first_not_of("0123456789abcdef") == std::string::npos; }

}  // namespace

HubDigest::HubDigest(std::string etag, uint64_t file_bytes) : etag_(std::move(etag)) {
  if (etag_.size() == 64 && is_hex(etag_)) {
    kind_ = Digest::Kind::kSha256;
  } else if (etag_.size() == 40 && is_hex(etag_)) {
    kind_ = Digest::Kind::kSha1;
    prefix_ = "blob " + std::to_string(file_bytes) + '\0';
  }
  restart();
}

void HubDigest::restart() {
  if (!kind_) return;
  digest_.emplace(*kind_);
  add(std::as_bytes(std::span(prefix_)));
}

void HubDigest::add(std::span<const std::byte> bytes) {
  if (digest_) digest_->add(bytes);
}

std::string HubDigest::hex() { return digest_ ? digest_->hex() : etag_; }

}  // namespace moshi::checkpoint
