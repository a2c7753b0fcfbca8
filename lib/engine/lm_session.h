// SPDX-License-Identifier: MIT
// What only sessions of a language model have: settings, seeds, conditions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "engine/session.h"

namespace moshi::engine {

/// Throws Error(INVALID_ARGUMENT) naming `function` if the session has no language model.
void require_lm(const Session& session, const char* function);

/// The settings of a new session: what the model's configuration asks for, without guidance, and `seed`, or one that
/// is drawn where it is -1. Throws Error(INVALID_ARGUMENT) below that.
LmSettings first_settings(const lm::Config& config, int64_t seed);

/// A number of session_set(); false if a language model session has none of this name. Throws Error.
bool set_lm_number(Session& session, std::string_view name, double value);
/// Names of those numbers, for messages.
const char* lm_numbers();

int64_t session_seed(Session& session);
void set_session_conditions(Session& session, const MoshiCondition* conditions, size_t count);

/// Gives the row the session's settings. For the executor, between two calls.
void apply_settings(Session& session) noexcept;

}  // namespace moshi::engine
