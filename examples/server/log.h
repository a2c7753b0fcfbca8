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

/// Lets GLib and all that is built on it write lines of this log, too.
void take_glibs();

/// `event` is one word with dashes ("session-start"). What clients send is escaped, and cut where it is very long. Any
/// thread; a line is never torn. Of warnings, which who is not let in can cause, there are a few of an event in a
/// second; how many were left out is told in a line of its own before the next one of any kind.
void write(Level level, const char* event, std::initializer_list<Field> fields = {});

}  // namespace server::log
