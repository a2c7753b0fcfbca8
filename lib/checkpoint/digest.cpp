// SPDX-License-Identifier: MIT
#include "checkpoint/digest.h"

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
  if (ok != 1) throw Error(MOSHI_ERR_INTERNAL, "a checksum failed in libcrypto");
}

}  // namespace

struct Digest::Impl {
  std::unique_ptr<EVP_MD_CTX, FreeContext> context{EVP_MD_CTX_new()};
};

Digest::Digest(Kind kind) : impl_(std::make_unique<Impl>()) {
  const EVP_MD* type = kind == Kind::kSha1 ? EVP_sha1() : EVP_sha256();
  check(impl_->context ? EVP_DigestInit_ex(impl_->context.get(), type, nullptr) : 0);
}

Digest::~Digest() = default;
Digest::Digest(Digest&&) noexcept = default;
Digest& Digest::operator=(Digest&&) noexcept = default;

void Digest::add(std::span<const std::byte> bytes) {
  check(EVP_DigestUpdate(impl_->context.get(), bytes.data(), bytes.size()));
}

std::string Digest::hex() {
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
  Digest digest(Digest::Kind::kSha256);
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
