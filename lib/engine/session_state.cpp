// SPDX-License-Identifier: MIT
#include "engine/session_state.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <string>
#include <utility>

#include "engine/errors.h"
#include "engine/model.h"

namespace moshi::engine {
namespace {

static_assert(std::endian::native == std::endian::little, "saved states are little-endian");

constexpr std::array<char, 8> kMagic{'M', 'O', 'S', 'H', 'I', 'S', 'E', 'S'};
constexpr uint32_t kVersion = 1;

struct Head {
  std::array<char, 8> magic = kMagic;
  uint32_t version = kVersion;
  uint32_t precision = 0;
  uint32_t roles = 0;
  uint32_t head_bytes = sizeof(Head);
  std::array<uint64_t, 2> row_bytes{};  ///< by slot_of()
  std::array<uint64_t, 2> frames{};     ///< run since the rows were made
  uint64_t checksum = 0;                ///< of the rows
  std::array<char, 64> sha256{};        ///< of the weight file, hex
};
static_assert(sizeof(Head) == 128);

/// An encoder's row comes first and a decoder's second; a language model has but one.
size_t slot_of(Work work) { return work == Work::kDecode ? 1 : 0; }

/// FNV-1a over 8-byte words, then the odd bytes: finds damage, keeps no secrets.
uint64_t checksum_of(std::span<const std::byte> bytes) {
  constexpr uint64_t kPrime = 0x100000001b3;
  uint64_t hash = 0xcbf29ce484222325;
  size_t i = 0;
  for (; i + 8 <= bytes.size(); i += 8) {
    uint64_t word;
    std::memcpy(&word, bytes.data() + i, sizeof word);
    hash = (hash ^ word) * kPrime;
    hash ^= hash >> 32;
  }
  for (; i < bytes.size(); ++i) hash = (hash ^ std::to_integer<uint64_t>(bytes[i])) * kPrime;
  return hash;
}

Head head_of(const Session& session) {
  Head head;
  head.precision = static_cast<uint32_t>(session.model->precision());
  head.roles = session.roles;
  for (const Track& track : session.tracks) {
    if (!track.lane) continue;
    head.row_bytes[slot_of(track.lane->work)] = track.row.saved_bytes();
    head.frames[slot_of(track.lane->work)] = static_cast<uint64_t>(track.frames);
  }
  const std::string& digest = session.model->sha256();
  std::memcpy(head.sha256.data(), digest.data(), std::min(digest.size(), head.sha256.size()));
  return head;
}

[[noreturn]] void damaged(const std::string& what) {
  throw Error(MOSHI_ERR_FORMAT, "the saved session is damaged: " + what);
}

[[noreturn]] void mismatch(const std::string& what) {
  throw Error(MOSHI_ERR_MISMATCH, "the saved session does not fit this one: " + what);
}

Head read_head(const Session& session, std::span<const std::byte> in) {
  Head head;
  if (in.size() < sizeof head) damaged("it has " + std::to_string(in.size()) + " bytes, less than its head");
  std::memcpy(&head, in.data(), sizeof head);
  if (head.magic != kMagic) damaged("it does not begin as one");
  if (head.version != kVersion || head.head_bytes != sizeof head) {
    mismatch("it is of version " + std::to_string(head.version) + ", this core reads " + std::to_string(kVersion));
  }
  const Head own = head_of(session);
  if (head.sha256 != own.sha256) {
    mismatch("it belongs to the model with SHA-256 " + std::string(head.sha256.begin(), head.sha256.end()));
  }
  if (head.precision != own.precision) mismatch("it was saved in another precision");
  if (head.roles != own.roles) {
    mismatch("it was saved with roles " + std::to_string(head.roles) + ", this session has " +
             std::to_string(own.roles));
  }
  const size_t rows = in.size() - sizeof head;
  if (head.row_bytes[0] > rows || head.row_bytes[1] != rows - head.row_bytes[0]) {
    damaged("it has " + std::to_string(rows) + " bytes of state where its head says otherwise");
  }
  if (checksum_of(in.subspan(sizeof head)) != head.checksum) damaged("its checksum is wrong");
  return head;
}

}  // namespace

size_t saved_bytes(Session& session) {
  require_idle(session, "saved");
  const Head head = head_of(session);
  return sizeof head + head.row_bytes[0] + head.row_bytes[1];
}

void save_session(Session& session, std::byte* out) {
  require_idle(session, "saved");
  Head head = head_of(session);
  std::byte* at = out + sizeof head;
  for (const Track& track : session.tracks) {
    if (!track.lane) continue;
    if (track.damaged) throw Error(MOSHI_ERR_INTERNAL, "a failed call left this session half-way: reset the session");
    track.row.save(at);
    at += head.row_bytes[slot_of(track.lane->work)];
  }
  head.checksum = checksum_of({out + sizeof head, at});
  std::memcpy(out, &head, sizeof head);
}

void load_session(Session& session, std::span<const std::byte> in) {
  require_idle(session, "loaded");
  const Head head = read_head(session, in);
  const auto part = [&](const Track& track) {
    const size_t slot = slot_of(track.lane->work);
    return in.subspan(sizeof head + (slot == 1 ? head.row_bytes[0] : 0), head.row_bytes[slot]);
  };
  std::array<Row, kWorks.size()> rows;
  for (size_t i = 0; i < rows.size(); ++i) {
    const Track& track = session.tracks[i];
    if (!track.lane) continue;
    if (track.lane->work == Work::kStep) {
      // Into the row that is there: it has the conditions, and another one's memory is not promised.
      session.tracks[i].row.load(part(track));
      continue;
    }
    rows[i] = track.lane->make_row();
    rows[i].load(part(track));
  }
  for (size_t i = 0; i < rows.size(); ++i) {
    Track& track = session.tracks[i];
    if (!track.lane) continue;
    if (rows[i]) track.row = std::move(rows[i]);
    // A head could say anything; nothing is computed from more than what fills a ring.
    const auto most = static_cast<uint64_t>(track.lane->frames_to_fill);
    track.frames = static_cast<int64_t>(std::min(head.frames[slot_of(track.lane->work)], most));
    track.guided_from = 0;
    track.damaged = false;
  }
}

}  // namespace moshi::engine
