// SPDX-License-Identifier: MIT
// The part of the executor that runs without its lock: checking input and calling the codec.
#include <array>
#include <span>
#include <string>

#include "engine/errors.h"
#include "engine/executor.h"
#include "engine/job.h"

namespace moshi::engine {
namespace {

void fail(BatchEntry& entry, MoshiStatus status, const std::string& message) {
  entry.failed = true;
  entry.job->status = status;
  set_error(&entry.job->error, status, message);
}

/// Resets the row if asked to, and finds out how many of the entry's frames can be run.
void prepare(BatchEntry& entry, Track& track) {
  if (entry.first == 0 && (entry.job->flags & MOSHI_JOB_RESET)) {
    track.row->reset();
    track.damaged = false;
  }
  if (track.damaged) {
    fail(entry, MOSHI_ERR_INTERNAL, "an earlier call failed and left this session half-way: reset the session");
    return;
  }
  std::string message;
  entry.good = good_frames(*entry.job, *track.lane, entry.first, entry.frames, &message);
  if (entry.good < entry.frames) fail(entry, MOSHI_ERR_DATA, message);
}

mimi::EncodeItem encode_item(const BatchEntry& entry, const Track& track) {
  const MoshiJob& job = *entry.job;
  const int64_t first = entry.first;
  return {track.row.get(),
          entry.good,
          job.codebooks,
          job.pcm_in + first * track.lane->frame_samples,
          job.codes_out + first * job.codebooks,
          job.latent_out ? job.latent_out + first * track.lane->latent_width : nullptr};
}

mimi::DecodeItem decode_item(const BatchEntry& entry, const Track& track) {
  const MoshiJob& job = *entry.job;
  const int64_t first = entry.first;
  return {track.row.get(),
          entry.good,
          job.codebooks,
          job.codes_in + first * job.codebooks,
          job.pcm_out + first * track.lane->frame_samples,
          job.latent_out ? job.latent_out + first * track.lane->latent_width : nullptr};
}

void call_codec(Batch& batch) {
  std::array<mimi::EncodeItem, kMaxRows> encode;
  std::array<mimi::DecodeItem, kMaxRows> decode;
  const bool encodes = batch.lane->direction == mimi::Direction::kEncode;
  size_t count = 0;
  for (int i = 0; i < batch.count; ++i) {
    const BatchEntry& entry = batch.entries[static_cast<size_t>(i)];
    if (entry.good == 0) continue;
    const Track& track = entry.session->track(batch.lane->direction);
    if (encodes) {
      encode[count++] = encode_item(entry, track);
    } else {
      decode[count++] = decode_item(entry, track);
    }
  }
  if (count == 0) return;
  if (encodes) {
    batch.lane->codec->encode(std::span(encode.data(), count));
  } else {
    batch.lane->codec->decode(std::span(decode.data(), count));
  }
}

/// A call that threw has changed its rows in an unknown way, and no output of it counts.
void fail_call(Batch& batch) {
  MoshiError error = MOSHI_INIT(MoshiError);
  const MoshiStatus status = handle_exception(&error);
  for (int i = 0; i < batch.count; ++i) {
    BatchEntry& entry = batch.entries[static_cast<size_t>(i)];
    if (entry.good == 0) continue;
    entry.good = 0;
    entry.failed = true;
    entry.job->status = status;
    set_error(&entry.job->error, status, error.message, error.detail);
    entry.session->track(batch.lane->direction).damaged = true;
  }
}

}  // namespace

void Executor::compute() {
  for (int i = 0; i < batch_.count; ++i) {
    BatchEntry& entry = batch_.entries[static_cast<size_t>(i)];
    prepare(entry, entry.session->track(batch_.lane->direction));
  }
  try {
    call_codec(batch_);
  } catch (...) {
    fail_call(batch_);
  }
  for (int i = 0; i < batch_.count; ++i) {
    const BatchEntry& entry = batch_.entries[static_cast<size_t>(i)];
    Track& track = entry.session->track(batch_.lane->direction);
    track.frames += entry.good;
    if (track.frames >= track.lane->frames_to_fill) track.memory.release();
  }
}

}  // namespace moshi::engine
