# SPDX-License-Identifier: MIT
"""The model shapes that parity is tested on: the default one and small ones that differ from it in every dimension."""

import copy

DEFAULT = {
    "sample_rate": 24000,
    "channels": 1,
    "frame_rate": 12.5,
    "seanet": {
        "channels": 1,
        "dimension": 512,
        "causal": True,
        "n_filters": 64,
        "n_residual_layers": 1,
        "activation": "ELU",
        "compress": 2,
        "dilation_base": 2,
        "disable_norm_outer_blocks": 0,
        "kernel_size": 7,
        "residual_kernel_size": 3,
        "last_kernel_size": 3,
        "norm": "none",
        "pad_mode": "constant",
        "ratios": [8, 6, 5, 4],
        "true_skip": True,
    },
    "quantizer": {"dimension": 256, "n_q": 32, "bins": 2048, "input_dimension": 512, "output_dimension": 512},
    "transformer": {
        "d_model": 512,
        "num_heads": 8,
        "num_layers": 8,
        "causal": True,
        "layer_scale": 0.01,
        "context": 250,
        "conv_layout": True,
        "max_period": 10000,
        "gating": "none",
        "norm": "layer_norm",
        "positional_embedding": "rope",
        "dim_feedforward": 2048,
        "input_dimension": 512,
        "output_dimensions": [512],
    },
}


def _make(sample_rate, frame_rate, width, seanet, quantizer, transformer):
    config = copy.deepcopy(DEFAULT)
    config.update(sample_rate=sample_rate, frame_rate=frame_rate)
    config["seanet"].update(dimension=width, **seanet)
    config["quantizer"].update(input_dimension=width, output_dimension=width, **quantizer)
    config["transformer"].update(input_dimension=width, output_dimensions=[width], **transformer)
    return config


# Four latent steps a frame, so that the ring loses three keys, not one, and a ring that wraps at frame 8.
SMALL = _make(
    24000,
    12.5,
    128,
    {"n_filters": 16, "ratios": [6, 5, 4, 4]},
    {"dimension": 64, "n_q": 32, "bins": 512},
    {"d_model": 128, "num_heads": 4, "num_layers": 2, "context": 32, "dim_feedforward": 256},
)

# Another rate, sizes that no vector width divides, an odd context, a cardinality that is no power of two.
ODD = _make(
    16000,
    25.0,
    72,
    {"n_filters": 12, "ratios": [5, 4, 4, 4], "kernel_size": 5, "last_kernel_size": 5},
    {"dimension": 40, "n_q": 9, "bins": 1000},
    {
        "d_model": 72,
        "num_heads": 3,
        "num_layers": 3,
        "context": 37,
        "dim_feedforward": 200,
        "max_period": 5000,
        "positional_embedding": "rope_concat",
    },
)

# Three levels instead of four, two residual blocks a level (the second one dilated) with a learnt shortcut, three
# latent steps a frame and a context that they do not divide, a transformer of another width than its input.
DEEP = _make(
    24000,
    20.0,
    96,
    {"n_filters": 24, "ratios": [10, 8, 5], "n_residual_layers": 2, "residual_kernel_size": 5, "true_skip": False},
    {"dimension": 96, "n_q": 17, "bins": 300},
    {
        "d_model": 112,
        "num_heads": 2,
        "num_layers": 2,
        "context": 20,
        "dim_feedforward": 384,
        "positional_embedding": "sin_rope",
    },
)

# One latent step a frame and so no resampling, no layer scales, positions added to the input alone.
PLAIN = _make(
    8000,
    50.0,
    64,
    {"n_filters": 8, "ratios": [8, 5, 4], "compress": 1},
    {"dimension": 32, "n_q": 10, "bins": 256},
    {
        "d_model": 64,
        "num_heads": 4,
        "num_layers": 2,
        "context": 30,
        "dim_feedforward": 100,
        "layer_scale": None,
        "positional_embedding": "sin",
    },
)

# Ninety-six latent steps a frame, to come in seconds to positions that the default shape reaches in an hour: angles of
# rotary positions are rounded to f32, so that frequencies which differ in the last bit drift apart by then.
LATE = _make(
    24000,
    12.5,
    32,
    {"n_filters": 4, "ratios": [5, 4]},
    {"dimension": 16, "n_q": 9, "bins": 128},
    {"d_model": 64, "num_heads": 1, "num_layers": 2, "dim_feedforward": 128},
)

CONFIGS = {"default": DEFAULT, "small": SMALL, "odd": ODD, "deep": DEEP, "plain": PLAIN, "late": LATE}


def frame_samples(config):
    return int(config["sample_rate"] / config["frame_rate"])


def steps_per_frame(config):
    hop = 1
    for ratio in config["seanet"]["ratios"]:
        hop *= ratio
    return frame_samples(config) // hop


def ring_frames(config):
    """Frames after which the key-value ring is full and old keys are lost."""
    return config["transformer"]["context"] // steps_per_frame(config)


def whole_frames(config, frames):
    """How many of the reference's whole-file frames are comparable with its streaming ones. A frame of several steps
    loses a key too many once the ring is full; one of a single step does not."""
    return min(frames, ring_frames(config)) if steps_per_frame(config) > 1 else frames
