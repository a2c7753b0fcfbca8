# SPDX-License-Identifier: MIT
"""The language models that parity is tested on, as config.json has them, and how each one's files are written.

Together they have every option that the reference accepts, and sizes that no vector width divides.
"""

GOOD, BAD = "very_good", "very_bad"

_DEPTH = {"depformer_multi_linear": True, "depformer_weights_per_step": True, "depformer_pos_emb": "none"}

# The shape of the reference's own test asset, with positions and norms as its constructor has them by default.
TINY = {
    "delays": [0, 1, 2, 4], "n_q": 3, "dep_q": 3, "card": 32, "text_card": 48, "dim": 16, "num_heads": 1,
    "num_layers": 2, "hidden_scale": 1, "context": 4, "depformer_dim": 16, "depformer_num_heads": 1,
    "depformer_gating": "silu", "depformer_multi_linear": True, "depformer_weights_per_step": True,
    "depformer_weights_per_step_schedule": [0, 1, 1], "depformer_low_rank_embeddings": 8,
}

# Moshi, smaller.
MOSHI = {
    "dim": 320, "text_card": 1000, "existing_text_padding_id": 3, "n_q": 16, "dep_q": 8, "card": 2048, "num_heads": 5,
    "num_layers": 5, "hidden_scale": 4.125, "causal": True, "layer_scale": None, "context": 120, "max_period": 10000,
    "gating": "silu", "norm": "rms_norm_f32", "positional_embedding": "rope", "depformer_dim": 192,
    "depformer_dim_feedforward": 792, "depformer_num_heads": 6, "depformer_num_layers": 3,
    "depformer_layer_scale": None, "depformer_context": 8, "depformer_max_period": 10000, "depformer_gating": "silu",
    **_DEPTH, "delays": [0, 0, 1, 1, 1, 1, 1, 1, 1, 0, 1, 1, 1, 1, 1, 1, 1],
    "lm_gen_config": {"temp": 0.9, "top_k": 200},
}

# Speech to text: no depth transformer, extra heads.
STT = {
    "dim": 256, "text_card": 600, "n_q": 32, "dep_q": 0, "card": 2048, "num_heads": 8, "num_layers": 4,
    "hidden_scale": 4.125, "causal": True, "context": 75, "max_period": 100000.0, "gating": "silu",
    "norm": "rms_norm_f32", "positional_embedding": "rope", **_DEPTH, "depformer_dim": 128, "depformer_num_heads": 4,
    "depformer_num_layers": 2, "depformer_gating": "silu", "delays": [0] * 33, "extra_heads_num_heads": 4,
    "extra_heads_dim": 6, "model_type": "stt",
    "stt_config": {"audio_delay_seconds": 0.5, "audio_silence_prefix_seconds": 0.0},
}

# Translation: a condition from a table, two frames of delay, one weight for several depth steps.
HIBIKI = {
    "dim": 200, "text_card": 800, "n_q": 16, "dep_q": 8, "card": 1000, "num_heads": 5, "num_layers": 4,
    "hidden_scale": 4, "causal": True, "context": 50, "max_period": 100000, "gating": "gelu", "norm": "rms_norm",
    "positional_embedding": "rope", **_DEPTH, "depformer_dim": 120, "depformer_num_heads": 4,
    "depformer_num_layers": 2, "depformer_dim_feedforward": [480, 500, 300], "depformer_gating": "relu",
    "depformer_weights_per_step_schedule": [0, 1, 1, 1, 2, 2, 2, 2],
    "delays": [0, 0, 2, 2, 2, 2, 2, 2, 2, 0, 2, 2, 2, 2, 2, 2, 2],
    "conditioners": {"description": {"type": "lut", "lut": {
        "n_bins": 31, "dim": 16, "tokenizer": "noop", "possible_values": [BAD, "bad", "neutral", "good", GOOD]}}},
    "fuser": {"sum": ["description"], "cross": [], "cross_attention_pos_emb": False,
              "cross_attention_pos_emb_scale": 1},
    "model_type": "hibiki",
}

# Text to speech: cross-attention to a voice, two text streams in one token, low-rank embeddings, norms of each step.
TTS = {
    "dim": 144, "text_card": 300, "text_card_out": 5, "n_q": 12, "dep_q": 12, "card": 500, "num_heads": 4,
    "num_layers": 3, "hidden_scale": 4.125, "causal": True, "context": 40, "max_period": 10000.0,
    "gating": "silu", "norm": "rms_norm_f32", "positional_embedding": "rope", "cross_attention": True,
    "demux_second_stream": True, **_DEPTH, "depformer_dim": 96, "depformer_num_heads": 3,
    "depformer_num_layers": 2, "depformer_dim_feedforward": [384, 384, 250, 100], "depformer_gating": "tanh",
    "depformer_low_rank_embeddings": 24, "depformer_norm": "rms_norm_f32",
    "depformer_weights_per_step_schedule": [0, 1, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3],
    "delays": [0, 0] + [2] * 11,
    "conditioners": {
        "speaker_wavs": {"type": "tensor", "tensor": {"dim": 40}},
        "cfg": {"type": "lut", "lut": {"n_bins": 7, "dim": 12, "tokenizer": "noop",
                                       "possible_values": ["1.0", "1.5", "2.0", "2.5", "3.0", "3.5", "4.0"]}},
        "control": {"type": "lut", "lut": {"n_bins": 9, "dim": 12, "tokenizer": "noop"}},
    },
    "fuser": {"sum": ["control", "cfg"], "cross": ["speaker_wavs"], "cross_attention_pos_emb": True,
              "cross_attention_pos_emb_scale": 0.7},
    "model_type": "tts", "tts_config": {"audio_delay": 1.28, "second_stream_ahead": 2},
}

# What no published model has together: shared key-value heads, half-split positions, scales, biases, normed embeddings,
# more text tokens that go in than come out, uneven delays, cross-attention with layer scales and two sources.
ODD = {
    "dim": 168, "text_card": 350, "text_card_out": 333, "n_q": 7, "dep_q": 4, "card": 301, "num_heads": 6,
    "kv_repeat": 3, "num_layers": 3, "hidden_scale": 3, "causal": True, "layer_scale": 0.1, "context": 37,
    "max_period": 20000, "gating": "mish", "norm": "layer_norm_f32", "positional_embedding": "rope_concat",
    "norm_emb": True, "bias_proj": True, "existing_text_padding_id": 5, "existing_text_end_padding_id": 1,
    "depformer_multi_linear": False, "depformer_weights_per_step": True, "depformer_pos_emb": "rope",
    "depformer_dim": 72, "depformer_num_heads": 3, "depformer_kv_repeat": 1, "depformer_num_layers": 2,
    "depformer_layer_scale": 0.2, "depformer_gating": "elu", "depformer_max_period": 50,
    "depformer_weights_per_step_schedule": [0, 0, 0, 0], "depformer_low_rank_embeddings": 20,
    "depformer_norm": "layer_norm", "delays": [1, 0, 3, 1, 2, 0, 3, 1],
    "extra_heads_num_heads": 2, "extra_heads_dim": 3,
}

# Cross-attention to two sources without positions, and with layer scales; a list of table values by hash.
CROSS = {
    "dim": 96, "text_card": 200, "n_q": 6, "dep_q": 3, "card": 128, "num_heads": 4, "num_layers": 2,
    "hidden_scale": 2, "causal": True, "layer_scale": 0.2, "context": 30, "gating": "none", "norm": "layer_norm",
    "positional_embedding": "none", "cross_attention": True, **_DEPTH, "depformer_dim": 64,
    "depformer_num_heads": 2, "depformer_num_layers": 2, "depformer_gating": "sigmoid", "depformer_layer_scale": None,
    "delays": [0, 0, 1, 1, 0, 1, 1],
    "conditioners": {
        "voice": {"type": "tensor", "tensor": {"dim": 20, "learn_padding": False}},
        "style": {"type": "tensor", "tensor": {"dim": 96, "force_linear": False}},
        "mood": {"type": "lut", "lut": {"n_bins": 11, "dim": 96, "tokenizer": "noop", "force_linear": False}},
    },
    "fuser": {"sum": ["mood"], "cross": ["style", "voice"]},
}

# Adapters on every linear layer.
LORA = {
    "dim": 136, "text_card": 257, "n_q": 8, "dep_q": 4, "card": 256, "num_heads": 4, "num_layers": 3,
    "hidden_scale": 4, "causal": True, "context": 33, "gating": "leaky_relu", "norm": "rms_norm",
    "positional_embedding": "sin_rope", **_DEPTH, "depformer_dim": 80, "depformer_num_heads": 4,
    "depformer_num_layers": 2, "depformer_gating": "softsign", "depformer_low_rank_embeddings": 16,
    "depformer_weights_per_step_schedule": [0, 1, 1, 2], "delays": [0, 0, 1, 1, 1, 0, 1, 1, 1],
    "lora": True, "lora_rank": 7, "lora_scaling": 1.5, "extra_heads_num_heads": 1,
}

# Eight bits a weight.
INT8 = {
    "dim": 192, "text_card": 400, "n_q": 8, "dep_q": 4, "card": 300, "num_heads": 6, "num_layers": 3,
    "hidden_scale": 4.125, "causal": True, "context": 45, "gating": "identity", "norm": "rms_norm_f32",
    "positional_embedding": "rope", **_DEPTH, "depformer_dim": 96, "depformer_num_heads": 3,
    "depformer_num_layers": 2, "depformer_gating": "silu", "delays": [0, 0, 1, 1, 1, 0, 1, 1, 1],
    "extra_heads_num_heads": 2, "extra_heads_dim": 5,
}

CONFIGS = {"tiny": TINY, "moshi": MOSHI, "stt": STT, "hibiki": HIBIKI, "tts": TTS, "odd": ODD, "cross": CROSS,
           "lora": LORA, "int8": INT8}

# How the weight file is written: names of attention weights (fused or split), type of the numbers.
FILES = {"tiny": ("fused", "f32"), "moshi": ("fused", "bf16"), "stt": ("split", "f16"), "hibiki": ("fused", "bf16"),
         "tts": ("split", "bf16"), "odd": ("split", "f32"), "cross": ("fused", "f32"), "lora": ("fused", "bf16"),
         "int8": ("fused", "int8")}

# Keys that are not the model constructor's.
OTHER_KEYS = ("moshi_name", "mimi_name", "mimi_config_name", "tokenizer_name", "lora_name", "model_type",
              "lm_gen_config", "tts_config", "stt_config", "model_id")


def user_streams(config):
    return config["n_q"] - config["dep_q"]


def text_logits(config):
    return config.get("text_card_out") or config["text_card"]


def text_tokens(config):
    """Text tokens that can be fed: with two streams in one token, pairs of them."""
    size = config["text_card"] + 1
    return size * size if config.get("demux_second_stream") else size


def max_delay(config):
    return max(config["delays"])
