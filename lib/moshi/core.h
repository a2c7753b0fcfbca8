/* SPDX-License-Identifier: MIT
 *
 * moshi/core.h - the boundary of libmoshi-core.
 *
 * One function is exported, moshi_core_get_api(); everything else is reached through the table that
 * it returns. The table is plain C: use it from C, C++ (see core.hpp), Rust, Python or by dlopen().
 *
 * Conventions
 *  - Every struct begins with its size in bytes, set by whoever makes it (MOSHI_INIT does). Structs and
 *    the table only ever grow at the end. A function that does not exist yet answers
 *    MOSHI_ERR_NOT_SUPPORTED; no entry is NULL.
 *  - Audio is mono float32 in [-1, 1] at the model's sample rate, in whole frames (1920 samples for Mimi).
 *  - Codes are unsigned 16-bit, frame-major: codes[frame * codebooks + codebook], codebook 0 (semantic)
 *    first, each below the model's cardinality.
 *  - Times are nanoseconds of CLOCK_MONOTONIC.
 *  - A function that can fail takes a MoshiError, which may be NULL, and returns the same status.
 *  - Nothing here throws, aborts or writes to a standard stream.
 *
 * Threads
 *  - Engine functions may be called from any thread at any time.
 *  - A session may be used by one thread at a time, except session_cancel() and wait(), which may be
 *    called from any thread. Different sessions never wait for each other.
 *  - Completion callbacks and step hooks run on the engine's thread and must neither block nor call back into the core.
 *  - While a model is being loaded, everything of its engine answers at once: facts that are not known yet are "", NULL
 *    or 0, and session_open() is MOSHI_ERR_TIMEOUT. Only engine_wait() and fetch() take long.
 */
#ifndef MOSHI_CORE_H
#define MOSHI_CORE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/** ABI generation of this header. A core serves exactly one. */
#define MOSHI_CORE_ABI 1u

/** `deadline_ns` of a job that has none. */
#define MOSHI_NO_DEADLINE INT64_MAX
/** `timeout_ns` that waits until the work ends or is cancelled. */
#define MOSHI_FOREVER INT64_MAX

/** Initializer of a struct of this header, all zero but for its size: MoshiJob job = MOSHI_INIT(MoshiJob); */
#ifdef __cplusplus
#define MOSHI_INIT(type)      \
  ([] {                       \
    type zeroed{};            \
    zeroed.size = sizeof(type); \
    return zeroed;            \
  }())
#else
#define MOSHI_INIT(type) {.size = sizeof(type)}
#endif

typedef enum MoshiStatus {
  MOSHI_OK = 0,
  MOSHI_ERR_INVALID_ARGUMENT = 1, /**< the caller's mistake: a range, a null pointer, a wrong kind */
  MOSHI_ERR_NOT_FOUND = 2,        /**< no such file, directory, model or tensor file */
  MOSHI_ERR_READ = 3,             /**< the file is there and cannot be read */
  MOSHI_ERR_FORMAT = 4,           /**< the file is damaged, truncated or not of its kind */
  MOSHI_ERR_MISMATCH = 5,         /**< weights and configuration do not fit each other */
  MOSHI_ERR_NO_MEMORY = 6,        /**< more memory is needed than is free; the message has both numbers */
  MOSHI_ERR_NO_DEVICE = 7,        /**< the device that was asked for is not there */
  MOSHI_ERR_BUSY = 8,             /**< no room for another session or job right now */
  MOSHI_ERR_DATA = 9,             /**< the stream holds what cannot be: a code out of range, NaN */
  MOSHI_ERR_CANCELLED = 10,       /**< ended by engine_cancel() or session_cancel() */
  MOSHI_ERR_TIMEOUT = 11,         /**< not done yet; the work goes on */
  MOSHI_ERR_NOT_SUPPORTED = 12,   /**< this core or model cannot do that (yet) */
  MOSHI_ERR_CONFLICT = 13,        /**< a process-wide setting is already set to another value */
  MOSHI_ERR_INTERNAL = 14,        /**< a defect of the core; please report the detail */
  MOSHI_ERR_NOT_FETCHED = 15,     /**< a hub model whose files are not all on this machine: fetch() gets them */
  MOSHI_ERR_NETWORK = 16,         /**< the hub could not be reached, or broke off; what came is kept for next time */
  MOSHI_ERR_NOT_AUTHORIZED = 17   /**< the hub refuses: a token is missing, wrong, or not allowed to read this model */
} MoshiStatus;

/** What went wrong: `message` is a sentence for people, `detail` is for whoever debugs. Both end with NUL. */
typedef struct MoshiError {
  size_t size;
  MoshiStatus status;
  char message[512];
  char detail[1024];
} MoshiError;

typedef enum MoshiLogLevel {
  MOSHI_LOG_ERROR = 1,
  MOSHI_LOG_WARNING = 2,
  MOSHI_LOG_INFO = 3,
  MOSHI_LOG_DEBUG = 4
} MoshiLogLevel;

/** Receives the core's log lines, from any thread. `part` names the part of the core ("engine", ...). */
typedef void (*MoshiLogFn)(void *user, MoshiLogLevel level, const char *part, const char *message);

/**
 * What numbers a model is computed with. f32 keeps weights as the checkpoint stores them (bf16 and int8 weights are
 * widened as they are used, which changes nothing) and everything else as f32: the reference's results in f32.
 * bf16 stores the language model's weights and key-value rings as bf16 and still computes in f32.
 */
typedef enum MoshiPrecision {
  MOSHI_PRECISION_AUTO = 0, /**< f32 on CPU */
  MOSHI_PRECISION_F32 = 1,
  MOSHI_PRECISION_BF16 = 2,
  MOSHI_PRECISION_F16 = 3,
  MOSHI_PRECISION_INT8 = 4,
  MOSHI_PRECISION_INT4 = 5
} MoshiPrecision;

/** What an engine or session is used for; combine as bits. MOSHI_ROLE_LM stands alone: open two engines for both. */
typedef enum MoshiRole {
  MOSHI_ROLE_ENCODE = 1, /**< Mimi: audio to codes */
  MOSHI_ROLE_DECODE = 2, /**< Mimi: codes to audio */
  MOSHI_ROLE_LM = 4      /**< Moshi: user codes to codes and text */
} MoshiRole;

/** `user_tokens`: a stream that feeds nothing. Also what a text-only step leaves as audio. */
#define MOSHI_TOKEN_ZERO (-1)
/** `tokens_out`: nothing has been generated for this frame yet (the first max_delay steps of a conversation). */
#define MOSHI_TOKEN_NONE (-2)
/** `forced_text`, `forced_audio`: generate this one. */
#define MOSHI_TOKEN_GENERATE INT32_MIN

typedef enum MoshiClass {
  MOSHI_CLASS_LIVE = 0, /**< earliest deadline first, ahead of files */
  MOSHI_CLASS_FILE = 1  /**< runs when no live job is ready, in short quanta */
} MoshiClass;

typedef struct MoshiEngine MoshiEngine;   /**< a caller's reference to a shared model on a device */
typedef struct MoshiSession MoshiSession; /**< one stream's state */

/** Load progress in [0, 1], from the loading thread. `stage` is a short word ("reading", "packing"). */
typedef void (*MoshiProgressFn)(void *user, double fraction, const char *stage);

typedef struct MoshiEngineConfig {
  size_t size;
  /**
   * A directory laid out like a hub repository, or `owner/name[@revision]`. NULL or "", and no weight file either: what
   * MOSHI_DEFAULT_MODEL names, or else the embedded models, which come with the core.
   */
  const char *model;
  const char *weights; /**< a Mimi weight file that replaces the model's own; NULL: the model's */
  const char *device;  /**< "auto", "cpu", "cuda" or "cuda:N"; NULL: "auto" */
  MoshiPrecision precision;
  uint32_t roles;   /**< MoshiRole bits that will be used; others are not loaded */
  int32_t threads;  /**< of the process-wide compute pool; 0: all cores; the first setter wins */
  uint32_t backend; /**< 0: chosen by the core; 1: packed CPU kernels; 2: LibTorch operators (the yardstick) */
  MoshiProgressFn progress; /**< may be NULL; not called after engine_close() returns */
  void *progress_user;

  /*
   * The language model's. Files are local paths ("~/" and "file://" too) or hf://owner/name/file; NULL and "" are the
   * same.
   */
  const char *lm_weights; /**< a weight file that replaces the model's own; NULL: the model's */
  const char *tokenizer;  /**< a sentencepiece model that replaces the model's own; NULL: the model's, if it has one */
  const char *config;     /**< a config.json that replaces the model's own; NULL: the model's */
  const char *lora;       /**< a LoRA file; NULL: the one that the configuration names, if any */
  int32_t lora_separate;  /**< 0: a LoRA is added to the weights at load; 1: it stays beside them */
} MoshiEngineConfig;

/**
 * Progress of fetch(), from the thread that called it, several times a second: bytes of all files of the model that
 * have come and that there are (0: not known yet), and the file that is coming, as its repository names it. Not called
 * where nothing has to come. Return 0 to cancel, 1 to go on.
 */
typedef int32_t (*MoshiFetchFn)(void *user, const char *file, uint64_t done, uint64_t total);

/**
 * Facts of a language model, known as soon as engine_open() has returned unless they say otherwise. Strings and arrays
 * live as long as the engine.
 */
typedef struct MoshiLmInfo {
  size_t size;
  const char *lm_file;
  const char *lm_sha256; /**< hex digest of the weight file; "" until it is loaded */
  uint64_t lm_bytes;
  const char *tokenizer_file; /**< "": it has none */
  int32_t text_eos;           /**< end-of-stream token of the tokenizer; -1: unknown */
  const char *lora_file;      /**< "": it has none */
  const char *model_type;     /**< "moshi", "hibiki", ... as the configuration says */
  int32_t own_streams;        /**< codebooks that it generates (dep_q); 0: text only */
  int32_t user_streams;       /**< codebooks that it listens to */
  int32_t cardinality;        /**< codes per codebook; `user_tokens` may also be this: the initial token */
  int32_t text_cardinality;   /**< text tokens of one text; as `forced_text` also this: the initial token */
  int32_t text_logits;        /**< text tokens that it can say */
  int32_t text_padding;       /**< token of a frame without text */
  int32_t text_end_padding;   /**< token before a new word */
  const int32_t *delays;      /**< frames, 1 + own_streams + user_streams: text, own, user */
  int32_t max_delay;
  int32_t context; /**< steps that it remembers */
  int32_t extra_heads, extra_head_width;
  const int32_t *silence; /**< user_streams codes of silence, by the model's own Mimi; NULL: unknown, or not loaded */
  int64_t processing_ns_step; /**< one step, one session, measured at warm-up; 0 until loaded */

  /* What the model's lm_gen_config and stt_config ask for, else the reference's defaults. */
  float temperature, text_temperature; /**< at least 0; 0: greedy */
  int32_t top_k, text_top_k;           /**< 0: all */
  int32_t sampling;                    /**< 0: greedy */
  float cfg_coef;                      /**< 1: no guidance. Sessions begin without: session_set() turns it on */
  double audio_delay_seconds;          /**< speech to text: text comes this much after its audio */
  double audio_silence_prefix_seconds; /**< speech to text: silence that the model wants first */

  const char *mimi_sha256; /**< hex digest of the model's own Mimi weights; "": it has none, or not loaded */
} MoshiLmInfo;

/** Facts of a model, known as soon as engine_open() has returned. Strings live as long as the engine. */
typedef struct MoshiEngineInfo {
  size_t size;
  const char *model_path;
  const char *mimi_file;
  const char *mimi_sha256; /**< hex digest of the weight file; "" until it is loaded */
  uint64_t mimi_bytes;
  int32_t sample_rate;          /**< Hz */
  int32_t frame_samples;        /**< samples per frame */
  int32_t frame_rate_numerator; /**< frames per second as a fraction: 25/2 for Mimi */
  int32_t frame_rate_denominator;
  int32_t codebooks;    /**< the most that the model has */
  int32_t cardinality;  /**< codes per codebook */
  int32_t latent_width; /**< floats of one frame's latent */
  const char *device;   /**< the device in use, e.g. "cpu" */
  const char *kernels;  /**< the code path in use, e.g. "avx512" */
  MoshiPrecision precision;
  int32_t threads;              /**< of the compute pool */
  int64_t processing_ns_encode; /**< one frame, one session, measured at warm-up; 0 until loaded */
  int64_t processing_ns_decode;
  int32_t embedded; /**< 1: no model was named, and it is the one that comes with the core */
} MoshiEngineInfo;

/** What one more session of some roles costs, and what is there. */
typedef struct MoshiEngineLimits {
  size_t size;
  uint64_t bytes_weights; /**< taken by the model once, in all roles that are loaded */
  uint64_t bytes_session; /**< needed for one session of the roles asked about; LM: twice that under guidance */
  uint64_t bytes_free;    /**< of the device or machine now */
  int32_t sessions_open;
  int32_t sessions_max; /**< 0: bounded by memory only */
} MoshiEngineLimits;

typedef struct MoshiEngineStats {
  size_t size;
  uint64_t calls;         /**< batches run */
  uint64_t frames;        /**< frames run, over all sessions */
  uint64_t batched_rows;  /**< sessions that took part, summed over batches */
  uint64_t deadline_miss; /**< live jobs that ended after their deadline */
  int64_t busy_ns;        /**< time spent computing */
} MoshiEngineStats;

typedef struct MoshiSessionConfig {
  size_t size;
  uint32_t roles; /**< MoshiRole bits, a subset of the engine's */
  MoshiClass work_class;
  int64_t seed; /**< of sampling (LM), from 0 on; -1 draws one */
  /** LM: MOSHI_ERR_BUSY when the model has this many sessions in this process already; 0: bounded by memory only. */
  int32_t max_sessions;
} MoshiSessionConfig;

typedef enum MoshiJobKind { MOSHI_JOB_ENCODE = 1, MOSHI_JOB_DECODE = 2, MOSHI_JOB_STEP = 3 } MoshiJobKind;

typedef enum MoshiJobFlags {
  MOSHI_JOB_RESET = 1,    /**< reset the session's state of this kind before the first frame */
  MOSHI_JOB_TEXT_ONLY = 2 /**< LM: skip the depth transformer; audio tokens are MOSHI_TOKEN_ZERO */
} MoshiJobFlags;

struct MoshiJob;
/** Called once when a job has ended, in whatever way. See "Threads" above. */
typedef void (*MoshiJobDone)(void *user, struct MoshiJob *job);

/**
 * Work for one session. The caller owns the struct and every buffer it names and keeps them alive and
 * untouched until the job has ended; the core allocates nothing for it. Jobs of a session run in the order
 * in which they were submitted.
 */
typedef struct MoshiJob {
  size_t size;
  MoshiJobKind kind;
  uint32_t flags;
  int32_t frames;      /**< at least 1 */
  int32_t codebooks;   /**< encode: how many to write; decode: how many each frame of `codes_in` has */
  int64_t deadline_ns; /**< when the result is wanted; MOSHI_NO_DEADLINE */

  const float *pcm_in;      /**< encode: frames * frame_samples */
  uint16_t *codes_out;      /**< encode: frames * codebooks */
  const uint16_t *codes_in; /**< decode: frames * codebooks */
  float *pcm_out;           /**< decode: frames * frame_samples; not clipped */
  float *latent_out;        /**< optional, frames * latent_width: encode: before quantization; decode: after */

  /*
   * LM: each frame is one step, as the reference's. The first step of a conversation runs on initial tokens alone,
   * whatever it is given. tokens_out of step s (from 0) is frame s - max_delay: MOSHI_TOKEN_NONE before that.
   */
  const int32_t *user_tokens;  /**< LM: frames * user_streams, each -1 to cardinality; NULL: all MOSHI_TOKEN_ZERO */
  /**
   * LM, optional: frames, each MOSHI_TOKEN_GENERATE, or -1 to text_cardinality (of two texts in one token: as the model
   * joins them); taken instead of what would be sampled at this step.
   */
  const int32_t *forced_text;
  /**
   * LM, optional: frames * own_streams, each MOSHI_TOKEN_GENERATE, or -1 to cardinality; likewise, before the next
   * codebook is sampled.
   */
  const int32_t *forced_audio;
  /** LM, optional: text_logits, added to the text logits of every frame; finite, or -INFINITY to rule a token out. */
  const float *logit_bias;
  int32_t *tokens_out;         /**< LM: frames * (1 + own_streams): text, then own codes; undelayed */
  int32_t *sampled_out;        /**< LM, optional: the same shape: what this step sampled or was forced, not undelayed */
  float *text_logits_out;      /**< LM, optional: frames * text_logits, after guidance, before bias */
  float *audio_logits_out;     /**< LM, optional: frames * own_streams * cardinality, after guidance */
  float *extra_heads_out;      /**< LM, optional: frames * extra_heads * extra_head_width probabilities, unguided */

  MoshiJobDone done; /**< optional */
  void *done_user;

  /* Results, valid once the job has ended. */
  MoshiStatus status;
  int32_t frames_done; /**< frames whose output is complete; on an error, those before the bad one */
  int64_t wait_ns;     /**< from submit() to the start of its first batch */
  int64_t run_ns;      /**< time in the batches that it took part in */
  MoshiError error;

  void *reserved[8]; /**< the core's, while the job is in flight */
} MoshiJob;

/**
 * Named condition of an LM session. Conditions that are not named are absent (their learnt padding is fed). Under
 * guidance, `negative` ones are what it leads away from: where none are given, all are absent there. The same name
 * may come once with and once without `negative`. Everything is copied.
 */
typedef struct MoshiCondition {
  size_t size;
  const char *name;
  const char *text;    /**< for table conditions; NULL for tensors, or absent */
  const float *tensor; /**< rows * columns, row-major, finite; 65536 rows at most, 1 where it is added to the input */
  const uint8_t *mask; /**< rows; NULL: all valid */
  int64_t rows, columns;
  int32_t negative; /**< 1: for the unconditional half of guidance */
} MoshiCondition;

/**
 * Batched callback of an LM engine, once per step on the engine's thread; must not block or re-enter. Row r of `data`
 * begins r * row_stride values after the first and belongs to sessions[r]. `sessions` are those that the same engine
 * reference opened. A row that is left with what cannot be ends its job with MOSHI_ERR_DATA, and no other.
 */
typedef void (*MoshiStepFn)(void *user, int32_t rows, MoshiSession *const *sessions, void *data, int64_t row_stride);

typedef struct MoshiStepHooks {
  size_t size;
  /** data: float text logits, guided and biased; may be changed before the text token is sampled, to -INFINITY too */
  MoshiStepFn text_logits;
  /** data: int32 text token, sampled or forced; may be changed before the depth transformer runs, as `forced_text` */
  MoshiStepFn text;
  /** data: int32 own audio tokens of the step; may be changed before they are kept, as `forced_audio` */
  MoshiStepFn audio;
  void *user;
} MoshiStepHooks;

/** A text token as text. */
typedef enum MoshiPieceKind {
  MOSHI_PIECE_NONE = 0, /**< padding and other tokens that are not said: no bytes */
  MOSHI_PIECE_TEXT = 1, /**< UTF-8, the sentencepiece mark as a space */
  MOSHI_PIECE_BYTE = 2  /**< one byte of a character: characters are whole only over several of these */
} MoshiPieceKind;

typedef struct MoshiPiece {
  size_t size;
  MoshiPieceKind kind;
  const char *bytes; /**< not terminated; lives as long as the engine */
  size_t count;
} MoshiPiece;

typedef struct MoshiCoreApi {
  size_t size;
  uint32_t abi;
  const char *version;         /**< of this core, e.g. "0.1.0" */
  const char *backend_version; /**< of what it computes with, e.g. "LibTorch 2.9.1" */

  /** Sends log lines to `fn`; NULL is silence. Process-wide. */
  void (*set_log)(MoshiLogFn fn, void *user);

  /**
   * Opens a model: reads and checks configuration and tensor headers now, then loads the weights on a thread of
   * its own, or joins a load or model that is there already for the same file, device and precision.
   * engine_close() gives the reference back; the last one frees the model.
   */
  MoshiStatus (*engine_open)(const MoshiEngineConfig *config, MoshiEngine **engine, MoshiError *error);
  /** Waits until the model is loaded. MOSHI_ERR_TIMEOUT if it is not yet, the load's error if it failed. */
  MoshiStatus (*engine_wait)(MoshiEngine *engine, int64_t timeout_ns, MoshiError *error);
  /** Ends this reference's waits with MOSHI_ERR_CANCELLED, for good. The load stops when nobody else wants it. */
  void (*engine_cancel)(MoshiEngine *engine);
  /** Closes the reference. Its sessions must be closed before. Never waits for a load. */
  void (*engine_close)(MoshiEngine *engine);
  MoshiStatus (*engine_info)(MoshiEngine *engine, MoshiEngineInfo *info, MoshiError *error);
  MoshiStatus (*engine_limits)(MoshiEngine *engine, uint32_t roles, MoshiEngineLimits *limits, MoshiError *error);
  MoshiStatus (*engine_stats)(MoshiEngine *engine, MoshiEngineStats *stats, MoshiError *error);
  /** Hooks of the sessions of this reference; NULL: none. When it returns, those before are not called any more. */
  MoshiStatus (*engine_set_hooks)(MoshiEngine *engine, const MoshiStepHooks *hooks, MoshiError *error);

  /** Opens a session on a loaded engine. The memory is checked before it is taken. */
  MoshiStatus (*session_open)(MoshiEngine *engine, const MoshiSessionConfig *config, MoshiSession **session,
                              MoshiError *error);
  /**
   * Back to the state of a new session; touches no other. An LM session keeps its settings and conditions, and draws the
   * same again. MOSHI_ERR_BUSY while jobs are in flight.
   */
  MoshiStatus (*session_reset)(MoshiSession *session, MoshiError *error);
  /**
   * Sets a named number of the session: "class" (MoshiClass); of an LM session "temperature" and "text-temperature" (at
   * least 0), "top-k" and "text-top-k" (at least 0; 0: all), "sampling" (0: greedy, or 1) and "seed" (0 to 2^53; -1
   * draws one), and of guidance "cfg-coef" (1: none), "cfg-text" (0: text is not guided, or 1) and "cfg-masked-until"
   * (steps in which the other half hears nothing; -1: none). All hold from the next step on. Changing between guidance
   * and none takes or frees memory, and is MOSHI_ERR_CONFLICT after the first step. A model without conditions has
   * nothing else to lead away from: set "cfg-text" 0 or "cfg-masked-until" before "cfg-coef".
   */
  MoshiStatus (*session_set)(MoshiSession *session, const char *name, double value, MoshiError *error);
  /**
   * Replaces all conditions of an LM session. Before its first step, or after a reset: later is MOSHI_ERR_CONFLICT. On
   * an error those before stay. Their memory is checked before it is taken; the first step computes what it needs of
   * them.
   */
  MoshiStatus (*session_set_conditions)(MoshiSession *session, const MoshiCondition *conditions, size_t count,
                                        MoshiError *error);
  /** Cancels what is in flight, waits for it to end (at most a quantum), frees the state. */
  void (*session_close)(MoshiSession *session);
  /** A new session that goes on from the same state, with the same settings and conditions; counts as one more. */
  MoshiStatus (*session_fork)(MoshiSession *session, MoshiSession **copy, MoshiError *error);
  /**
   * Writes the state, with model hash, precision and version; an LM's without settings and conditions. `*bytes` is the
   * size of `data` and becomes what the state needs, which grows with an LM's steps. `data` NULL: only that.
   */
  MoshiStatus (*session_save)(MoshiSession *session, void *data, size_t *bytes, MoshiError *error);
  /**
   * Goes on from a saved state; an LM session keeps its settings and conditions, and must have guidance if, and only
   * if, the saved one had. MOSHI_ERR_FORMAT for damaged bytes, MOSHI_ERR_MISMATCH for those of another model; the
   * session is then as before.
   */
  MoshiStatus (*session_load)(MoshiSession *session, const void *data, size_t bytes, MoshiError *error);

  /** Hands a job over and returns at once. MOSHI_ERR_BUSY when too many jobs of the session are in flight. */
  MoshiStatus (*submit)(MoshiSession *session, MoshiJob *job, MoshiError *error);
  /** Waits for a submitted job and returns its status, or MOSHI_ERR_TIMEOUT. */
  MoshiStatus (*wait)(MoshiSession *session, MoshiJob *job, int64_t timeout_ns, MoshiError *error);
  /** Ends the session's jobs with MOSHI_ERR_CANCELLED: queued ones at once, a running one within a quantum. */
  void (*session_cancel)(MoshiSession *session);

  /** Memory that the engine's device reads without a copy. */
  MoshiStatus (*buffer_alloc)(MoshiEngine *engine, size_t bytes, void **buffer, MoshiError *error);
  void (*buffer_free)(MoshiEngine *engine, void *buffer);

  /**
   * Gets what engine_open() with the same configuration needs from the hub into the Hugging Face cache, as its client
   * would: missing files only, resumed, checked. Returns when all is there. Takes as long as it takes: call it on a
   * thread of its own. MOSHI_OK at once when nothing is missing. A local model is only looked at: what it lacks is
   * MOSHI_ERR_NOT_FOUND, as in engine_open(), and so is what the hub does not have. Else MOSHI_ERR_NETWORK,
   * MOSHI_ERR_NOT_AUTHORIZED, MOSHI_ERR_CANCELLED, MOSHI_ERR_READ (no room on the disk) or MOSHI_ERR_FORMAT (a checksum
   * that is wrong twice).
   */
  MoshiStatus (*fetch)(const MoshiEngineConfig *config, MoshiFetchFn progress, void *user, MoshiError *error);
  /** Facts of the language model of an engine opened with MOSHI_ROLE_LM; others are MOSHI_ERR_INVALID_ARGUMENT. */
  MoshiStatus (*lm_info)(MoshiEngine *engine, MoshiLmInfo *info, MoshiError *error);
  /** What to show for a text token; any number may be asked about. MOSHI_ERR_NOT_SUPPORTED without a tokenizer. */
  MoshiStatus (*lm_piece)(MoshiEngine *engine, int32_t token, MoshiPiece *piece, MoshiError *error);
  /** The seed that a session's sampling uses: the given one, or the one that was drawn. */
  MoshiStatus (*session_seed)(MoshiSession *session, int64_t *seed, MoshiError *error);
} MoshiCoreApi;

/** The table of this ABI, or NULL if the core serves another. The only exported symbol. */
const MoshiCoreApi *moshi_core_get_api(uint32_t abi);
typedef const MoshiCoreApi *(*MoshiCoreGetApiFn)(uint32_t abi);
#define MOSHI_CORE_GET_API_SYMBOL "moshi_core_get_api"

#ifdef __cplusplus
}
#endif
#endif
