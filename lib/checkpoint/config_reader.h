// SPDX-License-Identifier: MIT
// Reads one object of a model's JSON configuration: every value typed and within its range, every error naming the
// file and the key, every key accounted for.
#pragma once

#include <initializer_list>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

namespace moshi::checkpoint {

class ConfigReader {
 public:
  /// `object` must outlive the reader; `path` is "" for the top level, else the name of the section.
  ConfigReader(const nlohmann::json& object, std::string origin, std::string path);

  /// "origin": section.key, as errors begin.
  std::string where(const std::string& key) const;

  // A missing key gives the default. Throw Error: FORMAT for a wrong type, MISMATCH outside [low, high].
  int integer(const char* key, int fallback, int low, int high);
  double number(const char* key, double fallback, double low, double high);
  bool boolean(const char* key, bool fallback);
  std::string text(const char* key, const std::string& fallback);
  std::vector<int> integers(const char* key, const std::vector<int>& fallback, size_t min_count, size_t max_count,
                            int low, int high);
  /// A single integer counts as a list of one.
  std::vector<int> integer_or_list(const char* key, size_t max_count, int low, int high);
  bool is_list(const char* key);
  std::vector<std::string> texts(const char* key, size_t max_count);
  /// Whether the key is there and not null.
  bool given(const char* key);
  /// Whether the key holds a number rather than null.
  bool number_or_null(const char* key, bool fallback);
  /// A nested object; a missing one is empty.
  ConfigReader section(const char* key);

  /// The names of everything in the object.
  std::vector<std::string> keys() const;

  /// Throws Error(NOT_SUPPORTED) if the key is there with another value; `why` ends the sentence.
  void require(const char* key, const nlohmann::json& value, const char* why);
  void require_one_of(const char* key, std::initializer_list<const char*> values);
  /// Accepts keys that change nothing here, such as those of training.
  void ignore(std::initializer_list<const char*> keys);
  /// Logs the keys that nobody asked about.
  void report_unknown() const;

 private:
  const nlohmann::json* find(const char* key);
  int to_integer(const std::string& key, const nlohmann::json& value, int low, int high) const;
  [[noreturn]] void wrong_type(const std::string& key, const char* expected) const;

  const nlohmann::json& object_;
  std::string origin_;
  std::string path_;
  std::set<std::string, std::less<>> known_;
};

}  // namespace moshi::checkpoint
