// SPDX-License-Identifier: MIT
#include "checkpoint/config_reader.h"

#include <cmath>
#include <utility>

#include "common/error.h"
#include "common/log.h"

namespace moshi::checkpoint {
namespace {

using nlohmann::json;

// Values in messages are cut: a hostile file must not write the log.
std::string shown(const json& value) {
  constexpr size_t kLimit = 80;
  if (value.is_structured() && value.size() > 16) return "a long value";
  std::string text = value.dump(-1, ' ', true, json::error_handler_t::replace);
  if (text.size() > kLimit) text = text.substr(0, kLimit) + "...";
  return text;
}

std::string range(double low, double high) { return shown(low) + " to " + shown(high); }

const json kEmpty = json::object();

}  // namespace

ConfigReader::ConfigReader(const json& object, std::string origin, std::string path)
    : object_(object), origin_(std::move(origin)), path_(std::move(path)) {}

std::string ConfigReader::where(const std::string& key) const {
  return "\"" + origin_ + "\": " + (path_.empty() ? key : path_ + "." + key);
}

const json* ConfigReader::find(const char* key) {
  known_.emplace(key);
  const auto it = object_.find(key);
  return it == object_.end() ? nullptr : &*it;
}

void ConfigReader::wrong_type(const std::string& key, const char* expected) const {
  throw Error(MOSHI_ERR_FORMAT, where(key) + " must be " + expected);
}

int ConfigReader::to_integer(const std::string& key, const json& value, int low, int high) const {
  if (!value.is_number()) wrong_type(key, "an integer");
  const double number = value.get<double>();
  if (number != std::floor(number)) wrong_type(key, "an integer");
  if (!(number >= low && number <= high)) {
    throw Error(MOSHI_ERR_MISMATCH, where(key) + " is " + shown(value) + "; it must be from " + std::to_string(low) +
                                        " to " + std::to_string(high));
  }
  return static_cast<int>(number);
}

int ConfigReader::integer(const char* key, int fallback, int low, int high) {
  const json* value = find(key);
  return value ? to_integer(key, *value, low, high) : fallback;
}

double ConfigReader::number(const char* key, double fallback, double low, double high) {
  const json* value = find(key);
  if (!value) return fallback;
  if (!value->is_number()) wrong_type(key, "a number");
  const double number = value->get<double>();
  if (!(number >= low && number <= high)) {
    throw Error(MOSHI_ERR_MISMATCH, where(key) + " is " + shown(*value) + "; it must be from " + range(low, high));
  }
  return number;
}

bool ConfigReader::boolean(const char* key, bool fallback) {
  const json* value = find(key);
  if (!value) return fallback;
  if (!value->is_boolean()) wrong_type(key, "true or false");
  return value->get<bool>();
}

std::string ConfigReader::text(const char* key, const std::string& fallback) {
  const json* value = find(key);
  if (!value) return fallback;
  if (!value->is_string()) wrong_type(key, "a string");
  return value->get<std::string>();
}

std::vector<int> ConfigReader::integers(const char* key, const std::vector<int>& fallback, size_t min_count,
                                        size_t max_count, int low, int high) {
  const json* value = find(key);
  if (!value) return fallback;
  if (!value->is_array()) wrong_type(key, "a list of integers");
  if (value->size() < min_count || value->size() > max_count) {
    throw Error(MOSHI_ERR_MISMATCH, where(key) + " has " + std::to_string(value->size()) + " entries; it must have " +
                                        std::to_string(min_count) + " to " + std::to_string(max_count));
  }
  std::vector<int> result;
  for (const json& element : *value) result.push_back(to_integer(key, element, low, high));
  return result;
}

std::vector<int> ConfigReader::integer_or_list(const char* key, size_t max_count, int low, int high) {
  return is_list(key) ? integers(key, {}, 1, max_count, low, high) : std::vector<int>{integer(key, low, low, high)};
}

bool ConfigReader::is_list(const char* key) {
  const json* value = find(key);
  return value && value->is_array();
}

std::vector<std::string> ConfigReader::texts(const char* key, size_t max_count) {
  const json* value = find(key);
  if (!value) return {};
  if (!value->is_array()) wrong_type(key, "a list of strings");
  if (value->size() > max_count) {
    throw Error(MOSHI_ERR_MISMATCH, where(key) + " has " + std::to_string(value->size()) +
                                        " entries; it may have up to " + std::to_string(max_count));
  }
  std::vector<std::string> result;
  for (const json& element : *value) {
    if (!element.is_string()) wrong_type(key, "a list of strings");
    result.push_back(element.get<std::string>());
  }
  return result;
}

bool ConfigReader::given(const char* key) {
  const json* value = find(key);
  return value && !value->is_null();
}

std::vector<std::string> ConfigReader::keys() const {
  std::vector<std::string> result;
  for (const auto& [key, value] : object_.items()) result.push_back(key);
  return result;
}

bool ConfigReader::number_or_null(const char* key, bool fallback) {
  const json* value = find(key);
  if (!value) return fallback;
  if (!value->is_number() && !value->is_null()) wrong_type(key, "a number or null");
  return value->is_number();
}

ConfigReader ConfigReader::section(const char* key) {
  const json* value = find(key);
  if (value && !value->is_object()) wrong_type(key, "an object");
  return ConfigReader(value ? *value : kEmpty, origin_, path_.empty() ? key : path_ + "." + key);
}

void ConfigReader::require(const char* key, const json& wanted, const char* why) {
  const json* value = find(key);
  if (!value || *value == wanted) return;
  throw Error(MOSHI_ERR_NOT_SUPPORTED, where(key) + " is " + shown(*value) + ", not " + shown(wanted) + ": " + why);
}

void ConfigReader::require_one_of(const char* key, std::initializer_list<const char*> values) {
  const json* value = find(key);
  if (!value) return;
  std::string list;
  for (const char* wanted : values) {
    if (*value == wanted) return;
    list += std::string(list.empty() ? "" : " or ") + wanted;
  }
  throw Error(MOSHI_ERR_NOT_SUPPORTED, where(key) + " is " + shown(*value) + "; supported is " + list);
}

void ConfigReader::ignore(std::initializer_list<const char*> keys) {
  for (const char* key : keys) known_.emplace(key);
}

void ConfigReader::report_unknown() const {
  int reported = 0;
  for (const auto& [key, value] : object_.items()) {
    if (known_.contains(key)) continue;
    if (++reported > 20) return;
    log(MOSHI_LOG_WARNING, "config", where(shown(key)) + " is not known and is ignored");
  }
}

}  // namespace moshi::checkpoint
