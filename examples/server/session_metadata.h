// SPDX-License-Identifier: MIT
// The JSON that a session sends (docs/protocol.md, "Metadata").
#pragma once

#include <string>

#include "conversation.h"
#include "delays.h"
#include "settings.h"

namespace server {

std::string queue_metadata(int place, int length);
std::string begin_metadata(const ModelFacts& facts, const Settings& settings, int64_t seed, double max_lag_seconds);
std::string stats_metadata(const ConversationStats& stats, const Delays& delays, int sessions);

}  // namespace server
