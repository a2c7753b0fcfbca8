// SPDX-License-Identifier: MIT
// From exceptions to MoshiError: nothing thrown crosses the C boundary.
#pragma once

#include <cstring>
#include <exception>
#include <string>
#include <string_view>

#include "common/error.h"
#include "moshi/core.h"

namespace moshi::engine {

/// Fills `error` if there is one; text that does not fit is cut at a character. A struct whose `size` is that of no
/// known version is left alone.
void set_error(MoshiError* error, MoshiStatus status, std::string_view message, std::string_view detail = {}) noexcept;

/// Turns the exception being handled into a status, and `error`. Call it in a catch block only.
MoshiStatus handle_exception(MoshiError* error) noexcept;

/// Runs an entry of the table: `fn` returns nothing and throws on failure.
template <class Fn>
MoshiStatus guarded(MoshiError* error, Fn&& fn) noexcept {
  try {
    fn();
    set_error(error, MOSHI_OK, "");
    return MOSHI_OK;
  } catch (...) {
    return handle_exception(error);
  }
}

/// An enumerator as a C caller wrote it: any number may be there, which C++ must not read as its enumeration.
template <class Enum>
int raw(const Enum& enumerator) {
  static_assert(sizeof(Enum) == sizeof(int));
  int number;
  std::memcpy(&number, &enumerator, sizeof number);
  return number;
}

[[noreturn]] inline void invalid(const std::string& message) { throw Error(MOSHI_ERR_INVALID_ARGUMENT, message); }

}  // namespace moshi::engine
