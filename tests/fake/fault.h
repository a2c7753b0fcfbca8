// SPDX-License-Identifier: MIT
// Filling MoshiError.
#pragma once

#include <moshi/core.h>

#include <string>

namespace moshi_fake {

/** MOSHI_INIT without C++'s warnings about the members it leaves out. */
template <typename T>
T Sized() {
  T value{};
  value.size = sizeof(T);
  return value;
}

/** Fills `error`, if there is one, and returns `status`. */
MoshiStatus Fault(MoshiError* error, MoshiStatus status, const std::string& message, const std::string& detail = "");
/** Clears `error` and returns MOSHI_OK. */
MoshiStatus Fine(MoshiError* error);
/** A failure that a knob asked for, in the words a real core could use. `what` names the file or object. */
MoshiStatus KnobFault(MoshiError* error, MoshiStatus status, const std::string& what);

/** Sends a line to the log function, if one is set. */
void Log(MoshiLogLevel level, const std::string& message);
void SetLog(MoshiLogFn fn, void* user);

}  // namespace moshi_fake
