// SPDX-License-Identifier: MIT
#include "vector.h"

#include <openssl/evp.h>

#include <cmath>
#include <fstream>
#include <iterator>
#include <memory>
#include <nlohmann/json.hpp>
#include <stdexcept>

namespace moshi_vectors {
namespace {

using nlohmann::json;

class Digest {
 public:
  Digest() : context_(EVP_MD_CTX_new(), EVP_MD_CTX_free) {
    if (EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr) != 1) throw std::runtime_error("no SHA-256");
  }
  void add(const void* data, size_t bytes) { EVP_DigestUpdate(context_.get(), data, bytes); }
  std::string hex() {
    unsigned char raw[EVP_MAX_MD_SIZE];
    unsigned int bytes = 0;
    EVP_DigestFinal_ex(context_.get(), raw, &bytes);
    std::string text;
    for (unsigned int i = 0; i < bytes; ++i) {
      for (const int digit : {raw[i] >> 4, raw[i] & 15}) text += "0123456789abcdef"[digit];
    }
    return text;
  }

 private:
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context_;
};

std::string read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) throw std::runtime_error("cannot read " + path);
  return {std::istreambuf_iterator<char>(in), {}};
}

// G.711.
int mulaw(unsigned char byte) {
  const int code = ~byte & 0xff;
  const int magnitude = (((code & 0x0f) << 3) + 0x84) << (code >> 4 & 7);
  return code & 0x80 ? 0x84 - magnitude : magnitude - 0x84;
}

}  // namespace

Vector load_vector(const std::string& folder, const std::string& name) {
  const json in = json::parse(read_file(folder + "/" + name + ".json"));
  if (in.at("format") != 1) throw std::runtime_error(name + ".json has a format that this test does not know");
  Vector v;
  v.name = name;
  v.seed = in.at("model").at("seed");
  v.config = in.at("model").at("config").is_null() ? "" : in.at("model").at("config").dump();
  v.model_sha256 = in.at("model").at("sha256");
  v.speech_file = in.at("speech").at("file");
  v.speech_sha256 = in.at("speech").at("sha256");
  v.gains = in.at("speech").at("gains").get<std::vector<double>>();
  v.frames = in.at("frames");
  v.codebooks = in.at("codebooks");
  for (const json& frame : in.at("codes")) {
    for (const json& code : frame) v.codes.push_back(code);
  }
  if (v.codes.size() != static_cast<size_t>(v.frames) * v.codebooks) throw std::runtime_error(name + ": codes missing");
  for (const json& tie : in.at("ties")) v.ties[{tie.at(0), tie.at(1)}] = tie.at(2);
  v.channels = in.at("latent").at("values").get<std::vector<std::array<double, kChannels>>>();
  v.greatest = in.at("latent").at("greatest").get<std::vector<double>>();
  for (const auto& [count, audio] : in.at("audio").items()) {
    v.audio[std::stoi(count)] = {audio.at("sha256"), audio.at("offsets").get<std::vector<double>>(),
                                 audio.at("spots").get<std::vector<std::array<double, kSpots>>>()};
  }
  return v;
}

std::vector<float> speech(const std::string& folder, const Vector& vector, int frame_samples) {
  const std::string clip = read_file(folder + "/" + vector.speech_file);
  const size_t wanted = static_cast<size_t>(vector.frames) * frame_samples;
  std::vector<float> audio;
  for (const double gain : vector.gains) {
    for (const char byte : clip) {
      audio.push_back(static_cast<float>(mulaw(static_cast<unsigned char>(byte))) / 32768.0f *
                      static_cast<float>(gain));
    }
  }
  if (audio.size() < wanted) throw std::runtime_error(vector.speech_file + " is too short");
  audio.resize(wanted);
  return audio;
}

int spot(int frame, int index, int frame_samples) {
  return (index * frame_samples / kSpots + 37 * frame) % frame_samples;
}

int channel(int frame, int index, int width) { return (index * width / kChannels + 7 * frame) % width; }

std::string sha256_of_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) throw std::runtime_error("cannot read " + path);
  Digest digest;
  std::vector<char> block(1 << 20);
  while (in.read(block.data(), static_cast<std::streamsize>(block.size())) || in.gcount() > 0) {
    digest.add(block.data(), static_cast<size_t>(in.gcount()));
  }
  return digest.hex();
}

std::string rounded_sha256(const std::vector<float>& audio, const std::vector<double>& offsets) {
  Digest digest;
  const size_t frame_samples = audio.size() / offsets.size();
  for (size_t i = 0; i < audio.size(); ++i) {
    const auto level = static_cast<uint16_t>(
        static_cast<int>(std::floor(10.0 * static_cast<double>(audio[i]) + offsets[i / frame_samples])));
    const unsigned char bytes[2] = {static_cast<unsigned char>(level & 0xff), static_cast<unsigned char>(level >> 8)};
    digest.add(bytes, sizeof bytes);
  }
  return digest.hex();
}

}  // namespace moshi_vectors
