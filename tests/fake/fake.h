/* SPDX-License-Identifier: MIT
 *
 * libmoshi-core-fake.so: the table of moshi/core.h without a model behind it, for tests.
 *
 * README
 *  - 24 kHz, 1920 samples a frame, 32 codebooks of 2048 codes. What it computes is in model.h, which tests include to
 *    know the answers: codes are a hash of the frame and of all frames since the last reset; decoded audio begins
 *    with the frame's index and codes in plain numbers.
 *  - A model is any directory or file that exists; NULL is the embedded default. A name that does not exist is
 *    MOSHI_ERR_NOT_FOUND at once, an empty file is MOSHI_ERR_FORMAT. The weight file's hash is made from its path.
 *  - Devices: "auto" and "cpu", and "cuda" and "cuda:0" with CUDA=1; others are MOSHI_ERR_NO_DEVICE. f16 is not there.
 *  - The language model (MOSHI_ROLE_LM) is in lm.h: its tokens are a hash of all user tokens since the last reset, of
 * the seed unless decoding is greedy, and of the step's number.
 *  - A model named "hub/..." is one of the hub: MOSHI_ERR_NOT_FETCHED until fetch() has run.
 *  - Use it with MOSHI_CORE=<build>/tests/fake/libmoshi-core-fake.so.
 *
 * Knobs: environment variables MOSHI_FAKE_<NAME>, read once, at the first use; moshi_fake_set() changes them later.
 *   LOAD_MS         duration of a load (0)
 *   LOAD_STEPS      progress reports during a load, besides 0 and 1 (4)
 *   LOAD_HOLD       while not 0, a load does not end
 *   LOAD_FAIL       MoshiStatus with which loads end (0)
 *   OPEN_FAIL       MoshiStatus with which engine_open() fails at once, as for bad headers (0)
 *   SESSION_FAIL    MoshiStatus with which session_open() fails (0)
 *   STEP_MS         duration of a batch: one frame of every session that is ready (0)
 *   STEP_HOLD       while not 0, a batch does not end
 *   FAIL_FRAME      0-based frame of each session, over all kinds, that fails (-1)
 *   FAIL_STATUS     MoshiStatus of that failure (MOSHI_ERR_INTERNAL)
 *   SESSIONS_MAX    sessions of a model; one more is MOSHI_ERR_BUSY (0: no limit)
 *   JOBS_MAX        jobs in flight of a session; one more is MOSHI_ERR_BUSY (64)
 *   FREE_MB         memory that is free: weights take 300, a session 10 (100000)
 *   PROCESSING_US   processing_ns_encode and _decode of a loaded model, in microseconds (5000)
 *   GAIN            factor of the decoded audio after its header; above 4 exceeds full scale (1)
 *   RATE, CODEBOOKS, CARDINALITY   facts of the model (24000, 32, 2048); a frame is RATE * 2 / 25 samples
 *   CUDA            not 0: there is a CUDA device
 *   FETCH_MS        duration of fetch() (0)
 *   FETCH_HOLD      while not 0, a fetch does not end
 *   FETCH_FAIL      MoshiStatus with which fetches end (0)
 *   LM_OWN, LM_USER, LM_CARDINALITY, LM_DELAY, LM_EXTRA_HEADS   shape of the language model (8, 8, 2048, 1, 0)
 *   LM_HIBIKI       not 0: its type is "hibiki", else "moshi"
 *   LM_EOS_AFTER    steps from the mark of the end to the end-of-stream token; -1: never (3)
 *   LM_NO_TOKENIZER not 0: it has no tokenizer
 *   LM_NO_SILENCE   not 0: its codes of silence are unknown
 *   LM_TEMPERATURE, LM_TOP_K   of the model's own generation settings (0.8, 250)
 *   ABI             the ABI generation that is served (MOSHI_CORE_ABI)
 */
#ifndef MOSHI_FAKE_H
#define MOSHI_FAKE_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct MoshiFakeStats {
  /* Alive now: all 0 after the last user has closed and moshi_fake_settle() has returned. */
  int64_t models, engines, sessions, buffers, threads;
  int64_t jobs_in_flight;
  int64_t loads_running;
  int64_t batch_running; /**< 1 while a batch is in its STEP_MS or STEP_HOLD */
  int64_t engine_waits;  /**< threads inside engine_wait() */
  int64_t fetches_running;
  /* Since the start of the process or moshi_fake_begin(). */
  int64_t loads_started, loads_completed, loads_cancelled, loads_failed;
  int64_t engines_opened, sessions_opened;
  int64_t jobs_submitted, jobs_cancelled;
  int64_t live_jobs, file_jobs;
  int64_t frames_encoded, frames_decoded;
  int64_t encode_resets, decode_resets; /**< MOSHI_JOB_RESET and session_reset(), counted per kind */
  int64_t job_frames_max;               /**< frames of the largest job */
  int64_t fetches, steps, lm_resets;
  int64_t misuse; /**< breaches of core.h: an engine closed before its sessions, a session used by two threads */
} MoshiFakeStats;

void moshi_fake_stats(MoshiFakeStats* stats);
/** Sets a knob ("STEP_MS"). `value` NULL: back to the default; both NULL: all knobs. */
void moshi_fake_set(const char* name, const char* value);
/** The last value that any session was given by session_set(), -1e9 if none was; the seed that a new one was given. */
double moshi_fake_setting(const char* name);
/**
 * What session_set_conditions() was last given, e.g. "description=very_good;-description=very_bad;voice[2x3]": a minus
 * sign for negative ones, rows and columns for tensors. Valid until the next such call.
 */
const char* moshi_fake_conditions(void);
/** Waits until the threads of models that nobody uses any more have ended. */
void moshi_fake_settle(void);

typedef void (*MoshiFakeStatsFn)(MoshiFakeStats* stats);
typedef void (*MoshiFakeSetFn)(const char* name, const char* value);
typedef void (*MoshiFakeVoidFn)(void);
typedef double (*MoshiFakeSettingFn)(const char* name);
typedef const char* (*MoshiFakeTextFn)(void);

#ifdef __cplusplus
}
#endif
#endif
