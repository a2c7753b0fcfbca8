// SPDX-License-Identifier: MIT
// A session's state as bytes: a head that says what it belongs to, then the rows in their model's unpacked form.
#pragma once

#include <cstddef>
#include <span>

#include "engine/session.h"

namespace moshi::engine {

/// Throws Error(BUSY) while jobs are in flight.
size_t saved_bytes(Session& session);
/// Writes saved_bytes() bytes.
void save_session(Session& session, std::byte* out);
/// Goes on from a saved state; on an error the session is as before. Throws Error: FORMAT for damaged bytes, MISMATCH
/// for those of another model, precision or set of roles.
void load_session(Session& session, std::span<const std::byte> in);

}  // namespace moshi::engine
