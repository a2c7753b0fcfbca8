// SPDX-License-Identifier: MIT
// libFuzzer target: any bytes as Ogg Opus. The first byte says how they are cut; however that is, the same packets come
// out, each of a duration that can be.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "ogg_opus.h"

namespace {

struct Result {
  wire::Bytes packets;
  bool good = true;
  uint64_t bad = 0;
  std::string problem;
  bool operator==(const Result&) const = default;
};

Result read(wire::View bytes, size_t step) {
  wire::OggOpusReader reader;
  Result result;
  for (size_t at = 0; at < bytes.size() && result.good; at += step) {
    const wire::View part = bytes.subspan(at, std::min(step, bytes.size() - at));
    result.good = reader.append(part, [&](wire::View packet, int samples) {
      if (samples < 1 || samples > wire::kMostPacketSamples || packet.empty()) abort();
      result.packets.insert(result.packets.end(), packet.begin(), packet.end());
    });
  }
  result.bad = reader.bad();
  result.problem = reader.problem();
  if (result.good != result.problem.empty()) abort();
  return result;
}

// Pages with a wrong checksum are skipped whole, which would hide what is behind it from the fuzzer.
void mend_checksums(uint8_t* data, size_t size) {
  for (size_t at = 0; at + 27 <= size; ++at) {
    if (std::memcmp(data + at, "OggS", 4) != 0) continue;
    const size_t header = 27u + data[at + 26];
    if (at + header > size) continue;
    size_t body = 0;
    for (size_t segment = 27; segment < header; ++segment) body += data[at + segment];
    if (at + header + body > size) continue;
    ogg_page page{data + at, static_cast<long>(header), data + at + header, static_cast<long>(body)};
    ogg_page_checksum_set(&page);
    at += header + body - 1;
  }
}

}  // namespace

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size, unsigned seed) {
  size = LLVMFuzzerMutate(data, size, max_size);
  if (seed % 8 != 0) mend_checksums(data, size);
  return size;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1) return 0;
  const wire::View bytes(data + 1, size - 1);
  if (read(bytes, 1 + data[0]) != read(bytes, SIZE_MAX / 2)) abort();
  return 0;
}
