// SPDX-License-Identifier: MIT
#include "tools/audio_file.h"

#include <cmath>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "checkpoint/mapped_file.h"
#include "common/error.h"

namespace moshi::tools {
namespace {

template <class T>
T value_at(std::string_view bytes, size_t at) {
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof(T));
  return value;
}

struct Format {
  uint16_t tag = 0;  // 1: integers, 3: floats
  uint16_t channels = 0;
  uint32_t rate = 0;
  uint16_t bits = 0;
};

Format parse_format(std::string_view chunk) {
  Format format{value_at<uint16_t>(chunk, 0), value_at<uint16_t>(chunk, 2), value_at<uint32_t>(chunk, 4),
                value_at<uint16_t>(chunk, 14)};
  // The extensible form carries the real tag at the start of its sub-format.
  if (format.tag == 0xfffe && chunk.size() >= 26) format.tag = value_at<uint16_t>(chunk, 24);
  return format;
}

std::vector<float> samples_of(std::string_view data, const Format& format) {
  const size_t step = size_t{format.channels} * format.bits / 8;
  std::vector<float> samples;
  for (size_t at = 0; at + step <= data.size(); at += step) {
    samples.push_back(format.tag == 3 ? value_at<float>(data, at)
                                      : static_cast<float>(value_at<int16_t>(data, at)) / 32768.0f);
  }
  return samples;
}

std::vector<float> parse_wav(std::string_view file, const std::string& path, int sample_rate) {
  Format format;
  if (file.size() < 12 || file.substr(0, 4) != "RIFF" || file.substr(8, 4) != "WAVE") {
    throw Error(MOSHI_ERR_FORMAT, "\"" + path + "\" is not a WAV file");
  }
  for (size_t at = 12; at + 8 <= file.size();) {
    const std::string_view name = file.substr(at, 4);
    // Streamed files have a length of 0xffffffff: the rest of the file then.
    const std::string_view chunk = file.substr(at + 8, value_at<uint32_t>(file, at + 4));
    if (name == "fmt " && chunk.size() >= 16) format = parse_format(chunk);
    if (name == "data") {
      const bool known = (format.tag == 1 && format.bits == 16) || (format.tag == 3 && format.bits == 32);
      if (!known || format.channels == 0 || format.rate != static_cast<uint32_t>(sample_rate)) {
        throw Error(MOSHI_ERR_NOT_SUPPORTED,
                    "\"" + path + "\" must be 16-bit or 32-bit float WAV at " + std::to_string(sample_rate) + " Hz");
      }
      return samples_of(chunk, format);
    }
    at += 8 + chunk.size() + chunk.size() % 2;
  }
  throw Error(MOSHI_ERR_FORMAT, "\"" + path + "\" has no sound in it");
}

}  // namespace

std::vector<float> read_mono(const std::string& path, int sample_rate) {
  const checkpoint::MappedFile file(path, checkpoint::MappedFile::Mode::kMap);
  const std::string_view bytes(reinterpret_cast<const char*>(file.data().data()), file.data().size());
  std::vector<float> samples =
      path.ends_with(".wav") ? parse_wav(bytes, path, sample_rate) : samples_of(bytes, Format{3, 1, 0, 32});
  for (const float sample : samples) {
    if (!std::isfinite(sample)) throw Error(MOSHI_ERR_FORMAT, "\"" + path + "\" holds NaN or infinity");
  }
  return samples;
}

}  // namespace moshi::tools
