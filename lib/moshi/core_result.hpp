// SPDX-License-Identifier: MIT
// Results of moshi/core.hpp: a value, or why there is none.
#pragma once

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string>
#include <utility>
#include <variant>

#include "moshi/core.h"

namespace moshi::core {

/// Why something failed: a sentence for people, and a detail for whoever looks into it.
struct Error {
  MoshiStatus status = MOSHI_ERR_INTERNAL;
  std::string message;
  std::string detail;

  static Error from(const MoshiError& error) { return {error.status, error.message, error.detail}; }
};

/// Either a value or an Error. Result<void> has no value.
template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : content_(std::in_place_index<0>, std::move(value)) {}
  Result(Error error) : content_(std::in_place_index<1>, std::move(error)) {}

  bool ok() const { return content_.index() == 0; }
  explicit operator bool() const { return ok(); }
  /// The value; only of a success.
  T& value() & { return ok() ? *std::get_if<0>(&content_) : (std::abort(), *std::get_if<0>(&content_)); }
  const T& value() const& { return const_cast<Result*>(this)->value(); }
  T value() && { return std::move(value()); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T operator*() && { return std::move(value()); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }
  /// The error; only of a failure.
  const Error& error() const { return ok() ? (std::abort(), *std::get_if<1>(&content_)) : *std::get_if<1>(&content_); }

 private:
  std::variant<T, Error> content_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error error) : error_(std::move(error)) {}

  bool ok() const { return !error_; }
  explicit operator bool() const { return ok(); }
  const Error& error() const { return error_ ? *error_ : (std::abort(), *error_); }

 private:
  std::optional<Error> error_;
};

namespace detail {

/// Calls an entry of the table that ends with a MoshiError.
template <class Fn, class... Args>
Result<void> call(Fn fn, Args... args) {
  MoshiError error = MOSHI_INIT(MoshiError);
  if (fn(args..., &error) == MOSHI_OK) return {};
  return Error::from(error);
}

inline Error wrong(std::string message) { return {MOSHI_ERR_INVALID_ARGUMENT, std::move(message), {}}; }

inline int64_t nanoseconds(std::chrono::nanoseconds timeout) {
  return timeout == std::chrono::nanoseconds::max() ? MOSHI_FOREVER : static_cast<int64_t>(timeout.count());
}

}  // namespace detail

}  // namespace moshi::core
