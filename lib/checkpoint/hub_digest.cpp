// SPDX-License-Identifier: MIT
#include "checkpoint/hub_digest.h"

#include <openssl/evp.h>

#include "common/error.h"

namespace moshi::checkpoint {
namespace {

struct FreeContext {
  void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
};

void check(int ok) {
  if (ok != 1) throw Error(MOSHI_ERR_INTERNAL, "a checksum failed in libcrypto");
}

bool is_hex(const std::string& text) { return text.find_first_not_of("0123456789abcdef") == std::string::npos; }

}  // namespace

struct HubDigest::Impl {
  std::string etag;
  std::string prefix;            ///< what comes before the file
  const EVP_MD* kind = nullptr;  ///< none: not checked
  std::unique_ptr<EVP_MD_CTX, FreeContext> context{EVP_MD_CTX_new()};
};

HubDigest::HubDigest(std::string etag, uint64_t file_bytes) : impl_(std::make_unique<Impl>()) {
  if (etag.size() == 64 && is_hex(etag)) {
    impl_->kind = EVP_sha256();
  } else if (etag.size() == 40 && is_hex(etag)) {
    impl_->kind = EVP_sha1();
    impl_->prefix = "blob " + std::to_string(file_bytes) + '\0';
  }
  impl_->etag = std::move(etag);
  restart();
}

HubDigest::~HubDigest() = default;

void HubDigest::restart() {
  if (!impl_->kind) return;
  check(impl_->context ? EVP_DigestInit_ex(impl_->context.get(), impl_->kind, nullptr) : 0);
  add(std::as_bytes(std::span(impl_->prefix)));
}

void HubDigest::add(std::span<const std::byte> bytes) {
  if (impl_->kind) check(EVP_DigestUpdate(impl_->context.get(), bytes.data(), bytes.size()));
}

std::string HubDigest::hex() {
  if (!impl_->kind) return impl_->etag;
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int length = 0;
  check(EVP_DigestFinal_ex(impl_->context.get(), digest, &length));
  std::string text;
  for (unsigned int i = 0; i < length; ++i) {
    text += "0123456789abcdef"[digest[i] >> 4];
    text += "0123456789abcdef"[digest[i] & 15];
  }
  return text;
}

}  // namespace moshi::checkpoint
