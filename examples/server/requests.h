// SPDX-License-Identifier: MIT
// HTTP requests: what they ask, and plain answers to them.
#pragma once

#include <libsoup/soup.h>

#include <nlohmann/json.hpp>
#include <string>

#include "access.h"
#include "settings.h"

namespace server {

using Json = nlohmann::ordered_json;

constexpr guint kUpgradeRequired = 426;

/// Empty if it is not there.
std::string header_of(SoupServerMessage* message, const char* name);
void set_header(SoupServerMessage* message, const char* name, const char* value);
Query query_of(SoupServerMessage* message);
Credentials credentials_of(SoupServerMessage* message);
/// See client_address().
std::string address_of(SoupServerMessage* message);

/// All answers have headers that keep browsers from doing more with them than they must. A `foreign` page, which may
/// need more than ours, has policies of its own.
void answer(SoupServerMessage* message, guint status, const std::string& type, GBytes* bytes, bool foreign = false);
void answer_text(SoupServerMessage* message, guint status, const std::string& type, const std::string& text);
void answer_sentence(SoupServerMessage* message, guint status, const std::string& sentence);
void answer_json(SoupServerMessage* message, guint status, const Json& json);

}  // namespace server
