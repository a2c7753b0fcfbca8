// SPDX-License-Identifier: MIT
// The part of the executor that runs without its lock: checking input and calling the model.
#include <algorithm>
#include <array>
#include <functional>
#include <span>
#include <string>

#include "engine/errors.h"
#include "engine/executor.h"
#include "engine/hooks.h"
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
    track.row.reset();
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
  return {track.row.codec(),
          entry.good,
          job.codebooks,
          job.pcm_in + first * track.lane->frame_samples,
          job.codes_out + first * job.codebooks,
          job.latent_out ? job.latent_out + first * track.lane->latent_width : nullptr};
}

mimi::DecodeItem decode_item(const BatchEntry& entry, const Track& track) {
  const MoshiJob& job = *entry.job;
  const int64_t first = entry.first;
  return {track.row.codec(),
          entry.good,
          job.codebooks,
          job.codes_in + first * job.codebooks,
          job.pcm_out + first * track.lane->frame_samples,
          job.latent_out ? job.latent_out + first * track.lane->latent_width : nullptr};
}

void call_codec(Batch& batch) {
  std::array<mimi::EncodeItem, kMaxRows> encode;
  std::array<mimi::DecodeItem, kMaxRows> decode;
  const bool encodes = batch.lane->work == Work::kEncode;
  size_t count = 0;
  for (int i = 0; i < batch.count; ++i) {
    const BatchEntry& entry = batch.entries[static_cast<size_t>(i)];
    if (entry.good == 0) continue;
    const Track& track = entry.session->track(batch.lane->work);
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

lm::StepItem step_item(const BatchEntry& entry, const Track& track) {
  const MoshiJob& job = *entry.job;
  const lm::Config& config = track.lane->language_model->config();
  const auto at = [&](auto* data, int64_t width) { return data ? data + entry.first * width : nullptr; };
  lm::StepItem item;
  item.row = track.row.lm();
  item.frames = entry.good;
  item.user = at(job.user_tokens, config.user_streams());
  item.forced_text = at(job.forced_text, 1);
  item.forced_audio = at(job.forced_audio, config.dep_q);
  item.logit_bias = job.logit_bias;
  item.text_only = (job.flags & MOSHI_JOB_TEXT_ONLY) != 0;
  item.tokens = at(job.tokens_out, 1 + config.dep_q);
  item.sampled = at(job.sampled_out, 1 + config.dep_q);
  item.text_logits = at(job.text_logits_out, config.text_card_out);
  item.audio_logits = at(job.audio_logits_out, int64_t{config.dep_q} * config.card);
  item.extra_heads = at(job.extra_heads_out, int64_t{config.extra_heads} * config.extra_heads_dim);
  return item;
}

/// A row that a step could not finish is between two steps.
void take_result(BatchEntry& entry, Track& track, const lm::StepItem& item) {
  if (item.done >= entry.good) return;
  entry.good = item.done;
  track.damaged = true;
  fail(entry, MOSHI_ERR_DATA,
       "step " + std::to_string(entry.first + item.done) +
           " of the job: " + (item.problem ? item.problem : "it could not be computed") + "; reset the session");
}

void call_language_model(Batch& batch) {
  std::array<BatchEntry*, kMaxRows> entries;
  std::array<Session*, kMaxRows> sessions;
  std::array<lm::StepItem, kMaxRows> items;
  size_t count = 0;
  for (int i = 0; i < batch.count; ++i) {
    BatchEntry& entry = batch.entries[static_cast<size_t>(i)];
    if (entry.good > 0) entries[count++] = &entry;
  }
  if (count == 0) return;
  // Side by side, the sessions of one engine reference share a call of its hooks.
  std::sort(entries.begin(), entries.begin() + static_cast<ptrdiff_t>(count), [](const auto* a, const auto* b) {
    return std::less<>()(a->session->hooks.get(), b->session->hooks.get());
  });
  for (size_t i = 0; i < count; ++i) {
    sessions[i] = entries[i]->session;
    items[i] = step_item(*entries[i], sessions[i]->track(Work::kStep));
  }
  const std::span all(items.data(), count);
  BatchHooks hooks(all, std::span(sessions.data(), count));
  batch.lane->language_model->step(all, hooks.any() ? &hooks : nullptr);
  for (size_t i = 0; i < count; ++i) take_result(*entries[i], sessions[i]->track(Work::kStep), items[i]);
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
    entry.session->track(batch.lane->work).damaged = true;
  }
}

}  // namespace

void Executor::compute() {
  for (int i = 0; i < batch_.count; ++i) {
    BatchEntry& entry = batch_.entries[static_cast<size_t>(i)];
    prepare(entry, entry.session->track(batch_.lane->work));
  }
  try {
    if (batch_.lane->work == Work::kStep) {
      call_language_model(batch_);
    } else {
      call_codec(batch_);
    }
  } catch (...) {
    fail_call(batch_);
  }
  for (int i = 0; i < batch_.count; ++i) {
    const BatchEntry& entry = batch_.entries[static_cast<size_t>(i)];
    Track& track = entry.session->track(batch_.lane->work);
    track.frames += entry.good;
    if (entry.good > 0) track.condition_memory.release();
    if (track.frames >= track.lane->frames_to_fill) track.memory.release();
    if (track.frames - track.guided_from >= track.lane->frames_to_fill) track.guidance_memory.release();
  }
}

}  // namespace moshi::engine
