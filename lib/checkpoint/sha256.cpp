// SPDX-License-Identifier: MIT
#include "checkpoint/sha256.h"

#include <openssl/evp.h>

#include <algorithm>
#include <vector>

#include "checkpoint/mapped_file.h"
#include "common/error.h"

namespace moshi::checkpoint {
namespace {

struct FreeContext {
  void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
};

void check(int ok) {
  if (ok != 1) throw Error(MOSHI_ERR_INTERNAL, "SHA-256 failed in libcrypto");
}

}  // namespace

struct Sha256::Impl {
  std::unique_ptr<EVP_MD_CTX, FreeContext> context{EVP_MD_CTX_new()};
};

Sha256::Sha256() : impl_(std::make_unique<Impl>()) {
  check(impl_->context ? EVP_DigestInit_ex(impl_->context.get(), EVP_sha256(), nullptr) : 0);
}

Sha256::~Sha256() = default;

void Sha256::add(std::span<const std::byte> bytes) {
  check(EVP_DigestUpdate(impl_->context.get(), bytes.data(), bytes.size()));
}

std::string Sha256::hex() {
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

std::string sha256_of(const MappedFile& file, const std::function<void()>& check) {
  constexpr uint64_t kPiece = uint64_t{1} << 20;
  Sha256 digest;
  std::vector<std::byte> piece(std::min(kPiece, file.bytes()));
  for (uint64_t at = 0; at < file.bytes(); at += kPiece) {
    if (check) check();
    const auto part = std::span(piece).first(std::min(kPiece, file.bytes() - at));
    file.read(at, part);
    digest.add(part);
  }
  return digest.hex();
}

}  // namespace moshi::checkpoint
