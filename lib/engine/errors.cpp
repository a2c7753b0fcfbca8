// SPDX-License-Identifier: MIT
#include "engine/errors.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <system_error>

namespace moshi::engine {
namespace {

/// Copies what fits, and never half of a UTF-8 character.
template <size_t kRoom>
void copy_text(char (&out)[kRoom], std::string_view text) {
  size_t length = std::min(text.size(), kRoom - 1);
  if (length < text.size()) {
    while (length > 0 && (static_cast<unsigned char>(text[length]) & 0xC0u) == 0x80u) --length;
  }
  if (length > 0) std::memcpy(out, text.data(), length);
  out[length] = '\0';
}

}  // namespace

void set_error(MoshiError* error, MoshiStatus status, std::string_view message, std::string_view detail) noexcept {
  if (!error || error->size < sizeof(MoshiError)) return;
  error->status = status;
  copy_text(error->message, message);
  copy_text(error->detail, detail);
}

MoshiStatus handle_exception(MoshiError* error) noexcept {
  try {
    throw;
  } catch (const Error& e) {
    set_error(error, e.status(), e.what(), e.detail());
    return e.status();
  } catch (const std::bad_alloc& e) {
    set_error(error, MOSHI_ERR_NO_MEMORY, "the system refused memory for a small allocation: memory is exhausted",
              e.what());
    return MOSHI_ERR_NO_MEMORY;
  } catch (const std::system_error& e) {
    set_error(error, MOSHI_ERR_INTERNAL, "the system refused a thread or a lock", e.what());
    return MOSHI_ERR_INTERNAL;
  } catch (const std::exception& e) {
    set_error(error, MOSHI_ERR_INTERNAL, "an unexpected failure in the core; please report its detail", e.what());
    return MOSHI_ERR_INTERNAL;
  } catch (...) {
    set_error(error, MOSHI_ERR_INTERNAL, "an unexpected failure in the core; please report it",
              "an exception of unknown type");
    return MOSHI_ERR_INTERNAL;
  }
}

}  // namespace moshi::engine
