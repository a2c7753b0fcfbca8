# SPDX-License-Identifier: MIT
"""The C table of lib/moshi/core.h for Python: ctypes and numpy, nothing else.

A process that loads the core must not import torch: two LibTorchs in one process abort.
"""

import contextlib
import ctypes as C
import os
import sys

import numpy as np

ABI = 1
FOREVER = NO_DEADLINE = 2**63 - 1
ENCODE, DECODE, LM = 1, 2, 4  # roles
ENCODE_JOB, DECODE_JOB, STEP_JOB = 1, 2, 3  # kinds of job
F32, BF16 = 1, 2  # precisions
TOKEN_ZERO, TOKEN_NONE, GENERATE = -1, -2, -(2**31)
PIECE_NONE, PIECE_TEXT, PIECE_BYTE = 0, 1, 2
LIVE, FILE = 0, 1
PACKED, TORCH = 1, 2  # backends
JOB_RESET, JOB_TEXT_ONLY = 1, 2
NOT_SUPPORTED = 12
STATUS = (
    "OK INVALID_ARGUMENT NOT_FOUND READ FORMAT MISMATCH NO_MEMORY NO_DEVICE BUSY DATA CANCELLED TIMEOUT "
    "NOT_SUPPORTED CONFLICT INTERNAL NOT_FETCHED NETWORK NOT_AUTHORIZED"
).split()


class _Sized(C.Structure):
    """A struct of the table: begins with its size."""

    def __init__(self, **values):
        super().__init__(size=C.sizeof(type(self)), **values)


class Error(_Sized):
    _fields_ = [("size", C.c_size_t), ("status", C.c_int), ("message", C.c_char * 512), ("detail", C.c_char * 1024)]


LogFn = C.CFUNCTYPE(None, C.c_void_p, C.c_int, C.c_char_p, C.c_char_p)
ProgressFn = C.CFUNCTYPE(None, C.c_void_p, C.c_double, C.c_char_p)


class EngineConfig(_Sized):
    _fields_ = [
        ("size", C.c_size_t),
        ("model", C.c_char_p),
        ("weights", C.c_char_p),
        ("device", C.c_char_p),
        ("precision", C.c_int),
        ("roles", C.c_uint32),
        ("threads", C.c_int32),
        ("backend", C.c_uint32),
        ("progress", ProgressFn),
        ("progress_user", C.c_void_p),
        ("lm_weights", C.c_char_p),
        ("tokenizer", C.c_char_p),
        ("config", C.c_char_p),
        ("lora", C.c_char_p),
        ("lora_separate", C.c_int32),
    ]


class LmInfo(_Sized):
    _fields_ = [
        ("size", C.c_size_t),
        ("lm_file", C.c_char_p),
        ("lm_sha256", C.c_char_p),
        ("lm_bytes", C.c_uint64),
        ("tokenizer_file", C.c_char_p),
        ("text_eos", C.c_int32),
        ("lora_file", C.c_char_p),
        ("model_type", C.c_char_p),
        ("own_streams", C.c_int32),
        ("user_streams", C.c_int32),
        ("cardinality", C.c_int32),
        ("text_cardinality", C.c_int32),
        ("text_logits", C.c_int32),
        ("text_padding", C.c_int32),
        ("text_end_padding", C.c_int32),
        ("delays", C.POINTER(C.c_int32)),
        ("max_delay", C.c_int32),
        ("context", C.c_int32),
        ("extra_heads", C.c_int32),
        ("extra_head_width", C.c_int32),
        ("silence", C.POINTER(C.c_int32)),
        ("processing_ns_step", C.c_int64),
        ("temperature", C.c_float),
        ("text_temperature", C.c_float),
        ("top_k", C.c_int32),
        ("text_top_k", C.c_int32),
        ("sampling", C.c_int32),
        ("cfg_coef", C.c_float),
        ("audio_delay_seconds", C.c_double),
        ("audio_silence_prefix_seconds", C.c_double),
        ("mimi_sha256", C.c_char_p),
    ]


class Condition(_Sized):
    _fields_ = [
        ("size", C.c_size_t),
        ("name", C.c_char_p),
        ("text", C.c_char_p),
        ("tensor", C.c_void_p),
        ("mask", C.c_void_p),
        ("rows", C.c_int64),
        ("columns", C.c_int64),
        ("negative", C.c_int32),
    ]


StepFn = C.CFUNCTYPE(None, C.c_void_p, C.c_int32, C.POINTER(C.c_void_p), C.c_void_p, C.c_int64)


class StepHooks(_Sized):
    _fields_ = [
        ("size", C.c_size_t),
        ("text_logits", StepFn),
        ("text", StepFn),
        ("audio", StepFn),
        ("user", C.c_void_p),
    ]


class Piece(_Sized):
    _fields_ = [("size", C.c_size_t), ("kind", C.c_int), ("bytes", C.c_void_p), ("count", C.c_size_t)]


class EngineInfo(_Sized):
    _fields_ = [
        ("size", C.c_size_t),
        ("model_path", C.c_char_p),
        ("mimi_file", C.c_char_p),
        ("mimi_sha256", C.c_char_p),
        ("mimi_bytes", C.c_uint64),
        ("sample_rate", C.c_int32),
        ("frame_samples", C.c_int32),
        ("frame_rate_numerator", C.c_int32),
        ("frame_rate_denominator", C.c_int32),
        ("codebooks", C.c_int32),
        ("cardinality", C.c_int32),
        ("latent_width", C.c_int32),
        ("device", C.c_char_p),
        ("kernels", C.c_char_p),
        ("precision", C.c_int),
        ("threads", C.c_int32),
        ("processing_ns_encode", C.c_int64),
        ("processing_ns_decode", C.c_int64),
        ("embedded", C.c_int32),
    ]


class EngineLimits(_Sized):
    _fields_ = [
        ("size", C.c_size_t),
        ("bytes_weights", C.c_uint64),
        ("bytes_session", C.c_uint64),
        ("bytes_free", C.c_uint64),
        ("sessions_open", C.c_int32),
        ("sessions_max", C.c_int32),
    ]


class EngineStats(_Sized):
    _fields_ = [
        ("size", C.c_size_t),
        ("calls", C.c_uint64),
        ("frames", C.c_uint64),
        ("batched_rows", C.c_uint64),
        ("deadline_miss", C.c_uint64),
        ("busy_ns", C.c_int64),
    ]


class SessionConfig(_Sized):
    _fields_ = [
        ("size", C.c_size_t),
        ("roles", C.c_uint32),
        ("work_class", C.c_int),
        ("seed", C.c_int64),
        ("max_sessions", C.c_int32),
    ]


class Job(_Sized):
    _fields_ = [
        ("size", C.c_size_t),
        ("kind", C.c_int),
        ("flags", C.c_uint32),
        ("frames", C.c_int32),
        ("codebooks", C.c_int32),
        ("deadline_ns", C.c_int64),
        ("pcm_in", C.c_void_p),
        ("codes_out", C.c_void_p),
        ("codes_in", C.c_void_p),
        ("pcm_out", C.c_void_p),
        ("latent_out", C.c_void_p),
        ("user_tokens", C.c_void_p),
        ("forced_text", C.c_void_p),
        ("forced_audio", C.c_void_p),
        ("logit_bias", C.c_void_p),
        ("tokens_out", C.c_void_p),
        ("sampled_out", C.c_void_p),
        ("text_logits_out", C.c_void_p),
        ("audio_logits_out", C.c_void_p),
        ("extra_heads_out", C.c_void_p),
        ("done", C.c_void_p),
        ("done_user", C.c_void_p),
        ("status", C.c_int),
        ("frames_done", C.c_int32),
        ("wait_ns", C.c_int64),
        ("run_ns", C.c_int64),
        ("error", Error),
        ("reserved", C.c_void_p * 8),
    ]


def _function(result, *arguments):
    return C.CFUNCTYPE(result, *arguments)


_P, _E = C.c_void_p, C.POINTER(Error)


class Api(C.Structure):
    _fields_ = [
        ("size", C.c_size_t),
        ("abi", C.c_uint32),
        ("version", C.c_char_p),
        ("backend_version", C.c_char_p),
        ("set_log", _function(None, LogFn, _P)),
        ("engine_open", _function(C.c_int, C.POINTER(EngineConfig), C.POINTER(_P), _E)),
        ("engine_wait", _function(C.c_int, _P, C.c_int64, _E)),
        ("engine_cancel", _function(None, _P)),
        ("engine_close", _function(None, _P)),
        ("engine_info", _function(C.c_int, _P, C.POINTER(EngineInfo), _E)),
        ("engine_limits", _function(C.c_int, _P, C.c_uint32, C.POINTER(EngineLimits), _E)),
        ("engine_stats", _function(C.c_int, _P, C.POINTER(EngineStats), _E)),
        ("engine_set_hooks", _function(C.c_int, _P, C.POINTER(StepHooks), _E)),
        ("session_open", _function(C.c_int, _P, C.POINTER(SessionConfig), C.POINTER(_P), _E)),
        ("session_reset", _function(C.c_int, _P, _E)),
        ("session_set", _function(C.c_int, _P, C.c_char_p, C.c_double, _E)),
        ("session_set_conditions", _function(C.c_int, _P, C.POINTER(Condition), C.c_size_t, _E)),
        ("session_close", _function(None, _P)),
        ("session_fork", _function(C.c_int, _P, C.POINTER(_P), _E)),
        ("session_save", _function(C.c_int, _P, _P, C.POINTER(C.c_size_t), _E)),
        ("session_load", _function(C.c_int, _P, _P, C.c_size_t, _E)),
        ("submit", _function(C.c_int, _P, C.POINTER(Job), _E)),
        ("wait", _function(C.c_int, _P, C.POINTER(Job), C.c_int64, _E)),
        ("session_cancel", _function(None, _P)),
        ("buffer_alloc", _function(C.c_int, _P, C.c_size_t, C.POINTER(_P), _E)),
        ("buffer_free", _function(None, _P, _P)),
        ("fetch", _function(C.c_int, C.POINTER(EngineConfig), _P, _P, _E)),
        ("lm_info", _function(C.c_int, _P, C.POINTER(LmInfo), _E)),
        ("lm_piece", _function(C.c_int, _P, C.c_int32, C.POINTER(Piece), _E)),
        ("session_seed", _function(C.c_int, _P, C.POINTER(C.c_int64), _E)),
    ]


class CoreError(RuntimeError):
    def __init__(self, status, message, detail=""):
        name = STATUS[status] if 0 <= status < len(STATUS) else str(status)
        super().__init__(f"{name}: {message}" + (f" ({detail})" if detail else ""))
        self.status = status


def _check(status, error):
    if status != 0:
        raise CoreError(status, error.message.decode(errors="replace"), error.detail.decode(errors="replace"))


class Core:
    """The loaded library. `path` is build/lib/libmoshi-core.so."""

    def __init__(self, path, log=False):
        if "torch" in sys.modules:
            raise RuntimeError("this process has imported torch; the core cannot be loaded beside it")
        self._library = C.CDLL(path, mode=os.RTLD_NOW | os.RTLD_LOCAL)
        self._library.moshi_core_get_api.restype = C.POINTER(Api)
        self._library.moshi_core_get_api.argtypes = [C.c_uint32]
        table = self._library.moshi_core_get_api(ABI)
        if not table:
            raise RuntimeError(f"{path} does not serve ABI {ABI}")
        self.api = table.contents
        self._log = LogFn(self._print if log else lambda *_: None)
        self.api.set_log(self._log, None)

    @staticmethod
    def _print(_user, level, part, message):
        print(f"core[{level}] {part.decode()}: {message.decode(errors='replace')}", file=sys.stderr)

    def open(self, model, roles=ENCODE | DECODE, threads=1, backend=0, weights=None, device="cpu", **lm):
        """`lm`: precision, lm_weights, tokenizer, config, lora, lora_separate of EngineConfig."""
        return Engine(self, model, roles, threads, backend, weights, device, **lm)


class Engine:
    """A loaded model. Close its sessions first."""

    def __init__(self, core, model, roles, threads, backend, weights, device, **lm):
        self.core, self.roles = core, roles
        config = EngineConfig(
            model=os.fsencode(model),
            weights=os.fsencode(weights) if weights else None,
            device=device.encode(),
            roles=roles,
            threads=threads,
            backend=backend,
            **{name: os.fsencode(value) if isinstance(value, str) else value for name, value in lm.items()},
        )
        self.handle, error = _P(), Error()
        _check(core.api.engine_open(C.byref(config), C.byref(self.handle), C.byref(error)), error)
        try:
            _check(core.api.engine_wait(self.handle, FOREVER, C.byref(error)), error)
            self.info = EngineInfo()
            _check(core.api.engine_info(self.handle, C.byref(self.info), C.byref(error)), error)
        except CoreError:
            self.close()
            raise

    def session(self, roles=None, work_class=FILE, seed=-1, kind=None):
        """`kind`: the class of the session, Session by default."""
        config = SessionConfig(roles=roles or self.roles, work_class=work_class, seed=seed)
        handle, error = _P(), Error()
        _check(self.core.api.session_open(self.handle, C.byref(config), C.byref(handle), C.byref(error)), error)
        return (kind or Session)(self, handle)

    def stats(self):
        stats, error = EngineStats(), Error()
        _check(self.core.api.engine_stats(self.handle, C.byref(stats), C.byref(error)), error)
        return stats

    def close(self):
        if self.handle:
            self.core.api.engine_close(self.handle)
            self.handle = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Work:
    """A job in flight, with the arrays that it reads and writes."""

    def __init__(self, session, job, arrays):
        self.session, self.job, self.arrays = session, job, arrays

    def wait(self):
        error = Error()
        status = self.session.api.wait(self.session.handle, C.byref(self.job), FOREVER, C.byref(error))
        _check(status, error)
        if self.job.status != 0 or self.job.frames_done != self.job.frames:
            _check(self.job.status or 14, self.job.error)
        return self.arrays


def _contiguous(array, dtype, shape):
    array = np.ascontiguousarray(array, dtype=dtype)
    if array.shape != shape:
        raise ValueError(f"expected an array of shape {shape}, not {array.shape}")
    return array


class Session:
    """One stream. encode() and decode() return at once; Work.wait() gives the arrays."""

    def __init__(self, engine, handle):
        self.engine, self.api, self.handle = engine, engine.core.api, handle

    def _submit(self, arrays, **values):
        pointers = {name: array.ctypes.data for name, array in arrays.items()}
        job, error = Job(deadline_ns=NO_DEADLINE, **values, **pointers), Error()
        _check(self.api.submit(self.handle, C.byref(job), C.byref(error)), error)
        return Work(self, job, arrays)

    def encode(self, pcm, codebooks, flags=0):
        """`pcm` [frame, sample]. The work's arrays: codes_out [frame, codebook], latent_out [frame, channel]."""
        info, frames = self.engine.info, len(pcm)
        arrays = {
            "pcm_in": _contiguous(pcm, np.float32, (frames, info.frame_samples)),
            "codes_out": np.full((frames, codebooks), 65535, np.uint16),
            "latent_out": np.full((frames, info.latent_width), np.nan, np.float32),
        }
        return self._submit(arrays, kind=ENCODE_JOB, frames=frames, codebooks=codebooks, flags=flags)

    def decode(self, codes, flags=0):
        """`codes` [frame, codebook]. The work's arrays: pcm_out [frame, sample], latent_out [frame, channel]."""
        info, (frames, codebooks) = self.engine.info, codes.shape
        arrays = {
            "codes_in": _contiguous(codes, np.uint16, (frames, codebooks)),
            "pcm_out": np.full((frames, info.frame_samples), np.nan, np.float32),
            "latent_out": np.full((frames, info.latent_width), np.nan, np.float32),
        }
        return self._submit(arrays, kind=DECODE_JOB, frames=frames, codebooks=codebooks, flags=flags)

    def reset(self):
        error = Error()
        _check(self.api.session_reset(self.handle, C.byref(error)), error)

    def fork(self):
        handle, error = _P(), Error()
        _check(self.api.session_fork(self.handle, C.byref(handle), C.byref(error)), error)
        return type(self)(self.engine, handle)

    def save(self):
        size, error = C.c_size_t(), Error()
        _check(self.api.session_save(self.handle, None, C.byref(size), C.byref(error)), error)
        data = C.create_string_buffer(size.value)
        _check(self.api.session_save(self.handle, data, C.byref(size), C.byref(error)), error)
        return data.raw[: size.value]

    def load(self, data):
        error = Error()
        _check(self.api.session_load(self.handle, data, len(data), C.byref(error)), error)

    def close(self):
        if self.handle:
            self.api.session_close(self.handle)
            self.handle = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


@contextlib.contextmanager
def opened(path, model, **options):
    """An engine on `model` for the length of a with statement."""
    with Core(path, log=bool(os.environ.get("MOSHI_PARITY_LOG"))).open(model, **options) as engine:
        yield engine
