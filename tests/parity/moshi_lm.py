# SPDX-License-Identifier: MIT
"""The language model of the C table for Python; see moshi_core.py."""

import contextlib
import ctypes as C

import numpy as np

import moshi_core
from moshi_core import GENERATE, LM, NO_DEADLINE, STEP_JOB, Error, Work


class LmSession(moshi_core.Session):
    """One conversation. step() returns at once; Work.wait() gives the arrays."""

    def _call(self, function, *arguments):
        error = Error()
        moshi_core._check(function(self.handle, *arguments, C.byref(error)), error)

    def set(self, **values):
        """Named numbers, with _ for -: set(sampling=0, text_top_k=5)."""
        for name, value in values.items():
            self._call(self.api.session_set, name.replace("_", "-").encode(), C.c_double(value))

    def set_conditions(self, conditions):
        """`conditions`: dicts with name, either text, or tensor [row, column] and mask [row], or neither; negative."""
        array, kept = (moshi_core.Condition * max(1, len(conditions)))(), []
        for slot, condition in zip(array, conditions):
            slot.size = C.sizeof(moshi_core.Condition)
            slot.name = condition["name"].encode()
            slot.negative = int(condition.get("negative", False))
            if condition.get("text") is not None:
                slot.text = condition["text"].encode()
            if condition.get("tensor") is not None:
                tensor = np.ascontiguousarray(condition["tensor"], np.float32)
                mask = np.ascontiguousarray(condition["mask"], np.uint8)
                kept += [tensor, mask]
                slot.tensor, slot.mask = tensor.ctypes.data, mask.ctypes.data
                slot.rows, slot.columns = tensor.shape
        self._call(self.api.session_set_conditions, array, len(conditions))

    def seed(self):
        value = C.c_int64()
        self._call(self.api.session_seed, C.byref(value))
        return value.value

    def step(self, frames, user=None, forced_text=None, forced_audio=None, bias=None, flags=0, logits=True):
        """Arrays [frame, ...] as MoshiJob has them. The work's arrays: tokens_out and sampled_out [frame, 1 + own],
        and with `logits` text_logits_out, audio_logits_out and extra_heads_out."""
        info = self.engine.lm
        own = info.own_streams
        arrays = {
            "tokens_out": np.full((frames, 1 + own), GENERATE, np.int32),
            "sampled_out": np.full((frames, 1 + own), GENERATE, np.int32),
        }
        if logits:
            arrays["text_logits_out"] = np.full((frames, info.text_logits), np.nan, np.float32)
            arrays["audio_logits_out"] = np.full((frames, own, info.cardinality), np.nan, np.float32)
            arrays["extra_heads_out"] = np.full((frames, info.extra_heads, info.extra_head_width), np.nan, np.float32)
        inputs = {"user_tokens": (user, np.int32, (frames, info.user_streams)),
                  "forced_text": (forced_text, np.int32, (frames,)),
                  "forced_audio": (forced_audio, np.int32, (frames, own)),
                  "logit_bias": (bias, np.float32, (info.text_logits,))}
        for name, (array, dtype, shape) in inputs.items():
            if array is not None:
                arrays[name] = moshi_core._contiguous(array, dtype, shape)
        pointers = {name: array.ctypes.data for name, array in arrays.items() if array.size}
        job = moshi_core.Job(deadline_ns=NO_DEADLINE, kind=STEP_JOB, frames=frames, flags=flags, **pointers)
        error = Error()
        moshi_core._check(self.api.submit(self.handle, C.byref(job), C.byref(error)), error)
        return Work(self, job, arrays)


def piece(engine, token):
    """(kind, bytes) of a text token."""
    found, error = moshi_core.Piece(), Error()
    moshi_core._check(engine.core.api.lm_piece(engine.handle, token, C.byref(found), C.byref(error)), error)
    return found.kind, C.string_at(found.bytes, found.count) if found.count else b""


@contextlib.contextmanager
def opened(path, model, **options):
    """A language model's engine for the length of a with statement; `lm` has its facts."""
    with moshi_core.opened(path, model, roles=LM, **options) as engine:
        engine.lm, error = moshi_core.LmInfo(), Error()
        moshi_core._check(engine.core.api.lm_info(engine.handle, C.byref(engine.lm), C.byref(error)), error)
        yield engine


def new_session(engine, **options):
    return engine.session(kind=LmSession, **options)


@contextlib.contextmanager
def hooked(engine, **changes):
    """Callbacks by name, text_logits, text or audio, for the length of a with statement; each gets [row, value]."""
    widths = {"text_logits": (engine.lm.text_logits, C.c_float), "text": (1, C.c_int32),
              "audio": (engine.lm.own_streams, C.c_int32)}
    hooks, error = moshi_core.StepHooks(), Error()

    def callback(name, change):
        width, kind = widths[name]

        def call(_user, rows, _sessions, data, stride):
            flat = np.ctypeslib.as_array(C.cast(data, C.POINTER(kind)), ((rows - 1) * stride + width,))
            change(np.lib.stride_tricks.as_strided(flat, (rows, width), (stride * 4, 4)))

        return moshi_core.StepFn(call)

    kept = {name: callback(name, change) for name, change in changes.items()}
    for name, function in kept.items():
        setattr(hooks, name, function)
    set_hooks = engine.core.api.engine_set_hooks
    moshi_core._check(set_hooks(engine.handle, C.byref(hooks), C.byref(error)), error)
    try:
        yield
    finally:
        moshi_core._check(set_hooks(engine.handle, None, C.byref(error)), error)
