// SPDX-License-Identifier: MIT
#include "settings.h"

#include <charconv>
#include <cmath>
#include <limits>
#include <string_view>

namespace server {
namespace {

constexpr double kMostTemperature = 100;
constexpr int64_t kMostTopK = std::numeric_limits<int32_t>::max();
constexpr int64_t kMostSeed = std::numeric_limits<int64_t>::max();
constexpr int kHalfSeedBits = 31;
constexpr int64_t kMostHalfSeed = (int64_t{1} << kHalfSeedBits) - 1;

/// What a client has sent, fit for a sentence.
std::string quoted(std::string_view value) {
  constexpr size_t kMost = 40;
  std::string text = "\"";
  for (const char c : value.substr(0, kMost)) text += c >= ' ' && c <= '~' ? c : '?';
  return text + (value.size() > kMost ? "...\"" : "\"");
}

template <typename Number>
std::optional<Number> number_of(std::string_view text) {
  Number number{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

/// Takes parameters out of a query, and remembers the first that cannot be.
class Reader {
 public:
  explicit Reader(const Query& query) : query_(query) {}

  std::optional<std::string> text(const char* name) const {
    const auto found = query_.find(name);
    return found == query_.end() ? std::nullopt : std::optional(found->second);
  }

  std::optional<int64_t> whole(const char* name, int64_t least, int64_t most) {
    const auto given = text(name);
    if (!given) return std::nullopt;
    const auto number = number_of<int64_t>(*given);
    if (number && *number >= least && *number <= most) return number;
    return refuse(name, *given, "a whole number from " + std::to_string(least) + " to " + std::to_string(most));
  }

  std::optional<double> real(const char* name, double least, double most, const std::string& wanted) {
    const auto given = text(name);
    if (!given) return std::nullopt;
    const auto number = number_of<double>(*given);
    if (number && std::isfinite(*number) && *number >= least && *number <= most) return number;
    return refuse(name, *given, wanted);
  }

  std::optional<double> real(const char* name) {
    constexpr double kMost = std::numeric_limits<double>::max();
    return real(name, -kMost, kMost, "a number");
  }

  std::nullopt_t refuse(const char* name, const std::string& value, const std::string& wanted) {
    if (problem_.empty()) problem_ = std::string(name) + " cannot be " + quoted(value) + ": it is " + wanted + ".";
    return std::nullopt;
  }

  const std::string& problem() const { return problem_; }

 private:
  const Query& query_;
  std::string problem_;
};

template <typename T, typename Given>
bool take(std::optional<T>* value, const std::optional<Given>& given) {
  if (given) *value = static_cast<T>(*given);
  return given.has_value();
}

/// Whether any was given.
bool read_sampling(Reader* reader, Sampling* sampling) {
  auto temperature = [reader](const char* name) {
    return reader->real(name, 0, kMostTemperature, "a number from 0 to 100");
  };
  bool given = take(&sampling->text_temperature, temperature("text_temperature"));
  given |= take(&sampling->temperature, temperature("audio_temperature"));
  given |= take(&sampling->text_top_k, reader->whole("text_topk", 0, kMostTopK));
  given |= take(&sampling->top_k, reader->whole("audio_topk", 0, kMostTopK));
  const auto text_seed = reader->whole("text_seed", 0, kMostHalfSeed);
  const auto audio_seed = reader->whole("audio_seed", 0, kMostHalfSeed);
  if (text_seed || audio_seed) {
    sampling->seed = text_seed.value_or(0) << kHalfSeedBits | audio_seed.value_or(0);
    given = true;
  }
  given |= take(&sampling->seed, reader->whole("seed", 0, kMostSeed));
  return given;
}

void read_ignored(Reader* reader, std::vector<std::string>* ignored) {
  if (reader->real("pad_mult").value_or(0) != 0) ignored->push_back("pad_mult");
  if (reader->real("repetition_penalty").value_or(1) != 1) ignored->push_back("repetition_penalty");
  reader->real("repetition_penalty_context");
}

void read_listen(Reader* reader, Settings* settings) {
  const std::string listen = reader->text("listen").value_or("both");
  settings->audio = listen != "text";
  settings->text = listen != "audio";
  if (settings->audio && settings->text && listen != "both") reader->refuse("listen", listen, "both, audio or text");
}

void read_encoding(Reader* reader, Settings* settings) {
  const std::string encoding = reader->text("audio").value_or("opus");
  settings->encoding = encoding == "pcm" ? Encoding::kPcm : Encoding::kOpus;
  if (encoding != "pcm" && encoding != "opus") reader->refuse("audio", encoding, "opus or pcm");
}

}  // namespace

std::optional<Settings> parse_query(const Query& query, const Sampling& defaults, std::string* problem) {
  Reader reader(query);
  Settings settings;
  settings.sampling = defaults;
  settings.metadata = read_sampling(&reader, &settings.sampling);
  settings.queue = !settings.metadata;
  if (const auto wanted = reader.whole("metadata", 0, 1)) settings.metadata = settings.queue = *wanted != 0;
  settings.stats = reader.whole("stats", 0, 1).value_or(0) != 0;
  take(&settings.most_steps, reader.whole("max_steps", 1, std::numeric_limits<int64_t>::max()));
  read_listen(&reader, &settings);
  read_encoding(&reader, &settings);
  read_ignored(&reader, &settings.ignored);
  if (reader.problem().empty()) return settings;
  *problem = reader.problem();
  return std::nullopt;
}

}  // namespace server
