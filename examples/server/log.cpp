// SPDX-License-Identifier: MIT
#include "log.h"

#include <glib.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>

#include "token_bucket.h"

namespace server::log {
namespace {

using Json = nlohmann::ordered_json;

constexpr double kWarningsPerSecond = 5, kBurstSeconds = 4;
constexpr size_t kMostText = 1000;

std::atomic<Style> style = Style::kText;
std::mutex writing;

/// How often a kind of warning may come.
struct Measure {
  TokenBucket bucket{kWarningsPerSecond, kBurstSeconds};
  int64_t left_out = 0;
};

class Measures {
 public:
  /// Whether a warning of this event is left out.
  bool leave_out(const char* event) {
    const std::lock_guard lock(mutex_);
    Measure& measure = measures_[event];
    if (measure.bucket.take(1, static_cast<double>(g_get_monotonic_time()) / G_USEC_PER_SEC)) return false;
    ++measure.left_out;
    return true;
  }

  /// How many were left out since the last time, by event.
  std::map<std::string, int64_t> take_left_out() {
    const std::lock_guard lock(mutex_);
    std::map<std::string, int64_t> counts;
    for (auto& [event, measure] : measures_) {
      if (measure.left_out > 0) counts[event] = std::exchange(measure.left_out, 0);
    }
    return counts;
  }

 private:
  std::mutex mutex_;
  std::map<std::string, Measure> measures_;
};

Measures& measures() {
  static Measures* const only = new Measures;  // never destroyed: threads may write until the end
  return *only;
}

Json to_json(const Value& value) {
  if (const auto* number = std::get_if<double>(&value)) {
    return std::isfinite(*number) ? Json(std::round(*number * 1000) / 1000) : Json();
  }
  const auto* text = std::get_if<std::string>(&value);
  if (text && text->size() > kMostText) return text->substr(0, kMostText) + "...";
  return std::visit([](const auto& any) { return Json(any); }, value);
}

/// ASCII on one line, whatever is in it: no terminal and no reader of the log is led astray.
std::string dump(const Json& json) {
  std::string text = json.dump(-1, ' ', true, Json::error_handler_t::replace);
  for (size_t at; (at = text.find('\x7f')) != std::string::npos;) text.replace(at, 1, "\\u007f");
  return text;
}

bool plain(const std::string& text) {
  for (const char one : text) {
    if (!g_ascii_isalnum(one) && std::string_view("._:/-+@,%[]~#").find(one) == std::string_view::npos) return false;
  }
  return !text.empty();
}

std::string to_words(const Value& value) {
  const Json json = to_json(value);
  const auto* text = json.get_ptr<const std::string*>();
  return text && plain(*text) ? *text : dump(json);
}

/// A sentence is not put in quotes; what is not printable in it is escaped all the same.
std::string to_prose(const Value& value) {
  const std::string quoted = dump(to_json(value));
  std::string text;
  for (size_t at = 1; at + 1 < quoted.size(); ++at) {
    const bool escaped = quoted[at] == '\\' && (quoted[at + 1] == '"' || quoted[at + 1] == '\\');
    text += quoted[escaped ? ++at : at];
  }
  return text;
}

std::string timestamp(const char* format) {
  const std::unique_ptr<GDateTime, decltype(&g_date_time_unref)> now(g_date_time_new_now_utc(), &g_date_time_unref);
  const std::unique_ptr<gchar, decltype(&g_free)> text(g_date_time_format(now.get(), format), &g_free);
  return text.get();
}

void put(const std::string& text) {
  const std::lock_guard lock(writing);
  for (size_t done = 0; done < text.size();) {
    const ssize_t count = ::write(STDERR_FILENO, text.data() + done, text.size() - done);
    if (count <= 0 && errno != EINTR) return;
    if (count > 0) done += static_cast<size_t>(count);
  }
}

std::string field(const char* name, const GLogField* fields, gsize count) {
  for (const GLogField* one = fields; one != fields + count; ++one) {
    if (strcmp(one->key, name) != 0) continue;
    const auto* value = static_cast<const char*>(one->value);
    return one->length < 0 ? std::string(value) : std::string(value, static_cast<size_t>(one->length));
  }
  return "";
}

GLogWriterOutput write_glibs(GLogLevelFlags level, const GLogField* fields, gsize count, gpointer fatal) {
  const std::string domain = field("GLIB_DOMAIN", fields, count);
  if (g_log_writer_default_would_drop(level, domain.c_str())) return G_LOG_WRITER_HANDLED;
  const bool last = level & GPOINTER_TO_INT(fatal), bad = level & (G_LOG_LEVEL_CRITICAL | G_LOG_LEVEL_WARNING);
  write(last  ? Level::kError
        : bad ? Level::kWarning
              : Level::kInfo,
        "library", {{"text", field("MESSAGE", fields, count)}, {"domain", domain}});
  if (last) std::abort();
  return G_LOG_WRITER_HANDLED;
}

}  // namespace

void take_glibs() {
  // What G_DEBUG and --gst-fatal-warnings have made fatal can only be asked for by changing it.
  const GLogLevelFlags fatal = g_log_set_always_fatal(G_LOG_LEVEL_ERROR);
  g_log_set_always_fatal(fatal);
  g_log_set_writer_func(write_glibs, GINT_TO_POINTER(fatal), nullptr);
}

void set_style(Style wanted) { style = wanted; }

std::string line(Style wanted, Level level, const char* event, std::initializer_list<Field> fields) {
  constexpr const char* kLevels[] = {"info", "warning", "error"};
  const char* name = kLevels[static_cast<int>(level)];
  if (wanted == Style::kJson) {
    Json json = {{"time", timestamp("%Y-%m-%dT%H:%M:%S.%f").substr(0, 23) + "Z"}, {"level", name}, {"event", event}};
    for (const auto& [key, value] : fields) json[key] = to_json(value);
    return dump(json) + "\n";
  }
  std::string text = timestamp("%H:%M:%S ");
  if (level == Level::kWarning) text += "warning: ";
  text += event;
  for (const auto& [key, value] : fields) {
    if (strcmp(key, "text") == 0) text += ": " + to_prose(value);
  }
  for (const auto& [key, value] : fields) {
    if (strcmp(key, "text") != 0) text += std::string(" ") + key + "=" + to_words(value);
  }
  return text + "\n";
}

void write(Level level, const char* event, std::initializer_list<Field> fields) {
  if (level == Level::kWarning && measures().leave_out(event)) return;
  for (const auto& [what, lines] : measures().take_left_out())
    put(line(style, Level::kWarning, "left-out", {{"text", "more warnings"}, {"of", what}, {"lines", lines}}));
  put(line(style, level, event, fields));
}

}  // namespace server::log
