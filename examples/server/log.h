// SPDX-License-Identifier: MIT
// One line for each event on standard error: words for people, or JSON for machines.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <utility>
#include <variant>

namespace server::log {

enum class Style { kText, kJson };
enum class Level { kInfo, kWarning, kError };

using Value = std::variant<std::string, double, int64_t, bool>;
using Field = std::pair<const char*, Value>;

void set_style(Style style);

/// What write() writes. A field named "text" is a sentence.
std::string line(Style style, Level level, const char* event, std::initializer_list<Field> fields);

/// `event` is one word with dashes ("session-start"). What clients send is escaped. Any thread; a line is never torn.
void write(Level level, const char* event, std::initializer_list<Field> fields = {});

}  // namespace server::log
