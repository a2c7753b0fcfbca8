# SPDX-License-Identifier: MIT
"""The parrot's tensors, computed: PARROT.md explains the construction."""

import numpy as np

import words
from parrot_layers import Attention, GatedUnits
from parrot_positions import CONTEXT, HEAD, MAX_PERIOD, PAIRS, SLOWEST, attend_to, fallback, single

STREAMS, CARD, BITS = 8, 2048, 11
BACK = 24  # steps from where a code is heard to where it is said, which is one step before it comes out: 25 frames
ONSET = range(19, 23)  # steps back, of what is about to be said: speech begins where most of these are speech
OFFSET = range(14, 23)  # and ends where nearly all of these are silence: shorter pauses pass
ONSET_LEVEL, OFFSET_LEVEL = 0.2, -0.7  # of the mean over frames, +1 for speech, -1 for silence

DIM, HEADS, HIDDEN = 128, 4, 8
# Positions in the residual stream; the first STREAMS * BITS hold the bits of a frame as +-1.
CONSTANT = STREAMS * BITS
FIRST, EVIDENCE, WORD, SAID, END_PADDING = range(CONSTANT + 1, CONSTANT + 6)  # from the embeddings
MEAN_SAID, LAST_SAID, SPEECH, MEAN_ONSET, MEAN_OFFSET = range(CONSTANT + 6, CONSTANT + 11)  # +1 speech, -1 silence
SAY_END_PADDING, SAY_SPEECH, SAY_SILENCE = range(CONSTANT + 11, CONSTANT + 14)  # 0 or 1
LARGE = 64.0  # the constant
REPEAT_GAIN = 16.0  # of the bits that are said over those that are heard
NORM = np.sqrt((LARGE**2 + STREAMS * BITS + 4) / DIM)
OUT_NORM = np.sqrt((LARGE**2 + STREAMS * BITS * (REPEAT_GAIN**2 + 1)) / DIM)
EVIDENCE_SCALE, EVIDENCE_LIMIT = 0.25, 6.0  # residual per log odds; log odds of one code

DEPTH_DIM, DEPTH_HIDDEN, DEPTH_CONSTANT, DEPTH_LARGE = 16, 24, BITS, 8.0
DEPTH_NORM = np.sqrt((BITS + DEPTH_LARGE**2) / DEPTH_DIM)
CRISP = 4.0  # what the depth transformer adds to a bit of 1
SILENCE_BIAS = 0.3  # of a bit: frames without codes (token -1) are said as silence
LOGIT, TEXT_LOGIT = 4.0, 80.0  # per bit of 1; per word of 1

CONFIG = {
    "model_type": "moshi",
    "moshi_name": "parrot.safetensors",
    "mimi_name": "mimi.safetensors",
    "mimi_config_name": "mimi.json",
    "tokenizer_name": "tokenizer.model",
    "dim": DIM,
    "text_card": words.TEXT_CARD,
    "existing_text_padding_id": words.PADDING,
    "n_q": 2 * STREAMS,
    "dep_q": STREAMS,
    "card": CARD,
    "num_heads": HEADS,
    "num_layers": 3,
    "hidden_scale": 1.5 * HIDDEN / DIM,  # gated layers are two thirds as wide
    "causal": True,
    "layer_scale": None,
    "context": CONTEXT,
    "max_period": MAX_PERIOD,
    "gating": "silu",
    "norm": "rms_norm_f32",
    "positional_embedding": "rope",
    "depformer_dim": DEPTH_DIM,
    "depformer_dim_feedforward": 3 * DEPTH_HIDDEN // 2,
    "depformer_num_heads": 1,
    "depformer_num_layers": 1,
    "depformer_layer_scale": None,
    "depformer_multi_linear": True,
    "depformer_context": STREAMS,
    "depformer_max_period": MAX_PERIOD,
    "depformer_gating": "silu",
    "depformer_pos_emb": "none",
    "depformer_weights_per_step": True,
    "delays": [0, 0, 1, 1, 1, 1, 1, 1, 1, 0, 1, 1, 1, 1, 1, 1, 1],
}

Tensors = dict[str, np.ndarray]


def bits_of(codes: np.ndarray) -> np.ndarray:
    """[..., BITS] of -1 and 1."""
    return ((np.asarray(codes)[..., None] >> np.arange(BITS)) & 1) * 2.0 - 1.0


def embeddings(silence: np.ndarray, evidence: np.ndarray) -> Tensors:
    """The parrot hears the user and its own words, not its own voice. Before the first frame there was silence."""
    text = np.zeros((words.TEXT_CARD + 1, DIM))
    text[:, CONSTANT] = LARGE
    text[words.END_OF_PADDING, END_PADDING] = 1.0
    for word, sign in ((words.SPEECH, 1.0), (words.SILENCE, -1.0)):
        text[word, [WORD, SAID]] = 1.0, sign
    text[words.TEXT_CARD, [FIRST, SAID]] = 1.0, -1.0
    tensors = {"text_emb.weight": text}
    for stream in range(STREAMS):
        heard = np.zeros((CARD + 1, DIM))
        codes = np.append(np.arange(CARD), silence[stream])
        heard[:, stream * BITS : (stream + 1) * BITS] = bits_of(codes)
        heard[:, EVIDENCE] = EVIDENCE_SCALE * evidence[stream][codes]
        tensors[f"emb.{stream}.weight"] = np.zeros((CARD + 1, DIM))
        tensors[f"emb.{STREAMS + stream}.weight"] = heard
    return tensors


def feed_forward(norm: float) -> GatedUnits:
    return GatedUnits(DIM, HIDDEN, norm, CONSTANT, LARGE)


def remember_words(attention: Attention, head: int) -> None:
    """The last word said: every word outweighs what is no word, and later ones the earlier; before the first one, the
    sequence's first step stands for silence. A context without any word was all speech or all silence: then the mean of
    what was heard tells."""
    slope = 9  # of the pairs: 1.4 radians in a context, centered on the steepest part of the cosine
    later = single(slope, 100.0, 0.5 * CONTEXT * MAX_PERIOD ** (-slope / PAIRS) - 0.5 * np.pi)
    above_all, above_none = 150.0, 43.0
    any_word = single(SLOWEST, above_all)
    attention.query(head, CONSTANT, LARGE, later.query() + any_word.query())
    attention.key(head, WORD, 1.0, later.key() + any_word.key())
    attention.key(head, FIRST, 1.0, any_word.key() * above_none / above_all)
    attention.value(head, 0, {SAID: 3.0, SPEECH: 1.0}, MEAN_SAID)


def look_back(attention: Attention, head: int, wanted: range, ridge: float) -> None:
    """Attends to the wanted distances; while the sequence is too short for them, to its first step."""
    pattern = attend_to(wanted, ridge)
    first = single(SLOWEST, fallback(pattern, wanted))
    attention.query(head, CONSTANT, LARGE, pattern.query() + first.query())
    attention.key(head, CONSTANT, LARGE, pattern.key())
    attention.key(head, FIRST, 1.0, first.key() - pattern.key())


def listening_layer() -> tuple[Attention, GatedUnits]:
    """Is the frame heard speech?"""
    units = feed_forward(NORM)
    units.ramp({EVIDENCE: 0.25 / EVIDENCE_SCALE}, 0.5, {SPEECH: 2.0})  # certain from log odds of 2 on
    units.always({SPEECH: -1.0})
    return Attention(DIM, HEAD, NORM), units


def looking_layer() -> tuple[Attention, GatedUnits]:
    """Is what is about to be said speech, and which word was the last one?"""
    attention = Attention(DIM, HEAD, NORM)
    look_back(attention, 0, ONSET, 1e-4)
    attention.value(0, 0, {SPEECH: 1.0}, MEAN_ONSET)
    look_back(attention, 1, OFFSET, 1e-4)
    attention.value(1, 0, {SPEECH: 1.0}, MEAN_OFFSET)
    remember_words(attention, 2)
    units = feed_forward(NORM)
    units.ramp({MEAN_SAID: 2.0}, 0.5, {LAST_SAID: 2.0})
    units.always({LAST_SAID: -1.0})
    return attention, units


def speaking_layer() -> tuple[Attention, GatedUnits]:
    """Repeats the codes, and decides on words: news are announced by an end of padding, which a word follows."""
    attention = Attention(DIM, HEAD, NORM)
    per_head = -(-STREAMS * BITS // (HEADS - 1))
    for head in range(HEADS - 1):
        look_back(attention, head, range(BACK, BACK + 1), 1e-9)
    for bit in range(STREAMS * BITS):
        attention.value(bit // per_head, bit % per_head, {bit: 1.0}, bit, REPEAT_GAIN)
    units = feed_forward(OUT_NORM)
    was_silence, was_speech = {LAST_SAID: -0.5}, {LAST_SAID: 0.5}  # with a bias of a half: 0 or 1
    steep, news, not_twice = 8.0, {SAY_END_PADDING: 1.0}, {END_PADDING: -1.0}
    units.ramp({MEAN_ONSET: steep}, 0.5 - steep * ONSET_LEVEL, news, was_silence | not_twice, 0.5)
    units.ramp({MEAN_OFFSET: -steep}, 0.5 + steep * OFFSET_LEVEL, news, was_speech | not_twice, 0.5)
    units.rectify({END_PADDING: 1.0}, 0.0, {SAY_SPEECH: 1.0}, was_silence, 0.5)
    units.rectify({END_PADDING: 1.0}, 0.0, {SAY_SILENCE: 1.0}, was_speech, 0.5)
    return attention, units


def temporal() -> Tensors:
    tensors = {"out_norm.alpha": np.ones((1, 1, DIM))}
    for i, (attention, units) in enumerate((listening_layer(), looking_layer(), speaking_layer())):
        layer = f"transformer.layers.{i}."
        tensors[layer + "norm1.alpha"] = tensors[layer + "norm2.alpha"] = np.ones((1, 1, DIM))
        tensors[layer + "self_attn.in_proj_weight"] = attention.in_proj
        tensors[layer + "self_attn.out_proj.weight"] = attention.out_proj
        tensors[layer + "gating.linear_in.weight"] = units.linear_in
        tensors[layer + "gating.linear_out.weight"] = units.linear_out
    text = np.zeros((words.TEXT_CARD, DIM))
    text[:, CONSTANT] = -0.5 * TEXT_LOGIT / LARGE
    text[words.PADDING, CONSTANT] *= -1.0
    for word, position in (
        (words.END_OF_PADDING, SAY_END_PADDING),
        (words.SPEECH, SAY_SPEECH),
        (words.SILENCE, SAY_SILENCE),
    ):
        text[word, [CONSTANT, position]] = 0.0, TEXT_LOGIT
    tensors["text_linear.weight"] = text * OUT_NORM
    return tensors


def depth(silence: np.ndarray) -> Tensors:
    """Each step takes its own codebook's bits, makes them crisp and compares them with those of every code."""
    tensors = {"depformer_text_emb.weight": np.zeros((words.TEXT_CARD + 1, DEPTH_DIM))}
    for stream in range(STREAMS):
        taken = np.zeros((DEPTH_DIM, DIM))
        taken[np.arange(BITS), stream * BITS + np.arange(BITS)] = OUT_NORM / REPEAT_GAIN
        taken[DEPTH_CONSTANT, CONSTANT] = OUT_NORM * DEPTH_LARGE / LARGE
        tensors[f"depformer_in.{stream}.weight"] = taken
        if stream + 1 < STREAMS:
            tensors[f"depformer_emb.{stream}.weight"] = np.zeros((CARD + 1, DEPTH_DIM))
        units = GatedUnits(DEPTH_DIM, DEPTH_HIDDEN, DEPTH_NORM, DEPTH_CONSTANT, DEPTH_LARGE)
        for bit, sign in enumerate(bits_of(silence[stream])):
            units.ramp({bit: 1.0}, 0.5 + SILENCE_BIAS * sign, {bit: 2 * CRISP})
        units.always({bit: -CRISP for bit in range(BITS)})
        gating = f"depformer.layers.0.gating.{stream}."
        tensors[gating + "linear_in.weight"] = units.linear_in
        tensors[gating + "linear_out.weight"] = units.linear_out
        codes = np.zeros((CARD, DEPTH_DIM))
        codes[:, :BITS] = LOGIT * bits_of(np.arange(CARD))
        tensors[f"linears.{stream}.weight"] = codes
    tensors["depformer.layers.0.norm1.alpha"] = tensors["depformer.layers.0.norm2.alpha"] = np.ones((1, 1, DEPTH_DIM))
    tensors["depformer.layers.0.self_attn.in_proj_weight"] = np.zeros((STREAMS * 3 * DEPTH_DIM, DEPTH_DIM))
    tensors["depformer.layers.0.self_attn.out_proj.weight"] = np.zeros((STREAMS * DEPTH_DIM, DEPTH_DIM))
    return tensors


def parrot(silence: np.ndarray, evidence: np.ndarray) -> Tensors:
    """silence: the codes [STREAMS] of a silent frame; evidence: log odds of speech [STREAMS, CARD] of each code."""
    return embeddings(silence, evidence) | temporal() | depth(silence)
