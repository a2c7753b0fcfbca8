// SPDX-License-Identifier: MIT
// What a loaded model can do for a session, a frame at a time.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "mimi/codec.h"
#include "moshi/core.h"

namespace moshi::engine {

enum class Work { kEncode, kDecode, kStep };
inline constexpr std::array<Work, 3> kWorks{Work::kEncode, Work::kDecode, Work::kStep};

constexpr size_t index_of(Work work) { return static_cast<size_t>(work); }

/// The MoshiRole bit of a kind of work.
constexpr uint32_t role_of(Work work) {
  switch (work) {
    case Work::kEncode:
      return MOSHI_ROLE_ENCODE;
    case Work::kDecode:
      return MOSHI_ROLE_DECODE;
    case Work::kStep:
      return MOSHI_ROLE_LM;
  }
  return 0;
}

constexpr const char* role_name(Work work) {
  switch (work) {
    case Work::kEncode:
      return "MOSHI_ROLE_ENCODE";
    case Work::kDecode:
      return "MOSHI_ROLE_DECODE";
    case Work::kStep:
      return "MOSHI_ROLE_LM";
  }
  return "";
}

/// Of a codec's work: not of kStep.
constexpr mimi::Direction direction_of(Work work) {
  return work == Work::kDecode ? mimi::Direction::kDecode : mimi::Direction::kEncode;
}

}  // namespace moshi::engine
