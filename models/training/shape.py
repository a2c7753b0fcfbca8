# SPDX-License-Identifier: MIT
"""The shape of the embedded Mimi, and the reference's modules of that shape."""

from moshi.models.compression import MimiModel
from moshi.models.loaders import get_mimi

FRAME = 1920  # samples
CODEBOOKS = 16
BINS = 2048
DIMENSION = 128  # of the latent
CODE_DIMENSION = 32
CONTEXT = 32  # latents of 40 ms that a transformer looks back to

CONFIG = {
    "sample_rate": 24000,
    "channels": 1,
    "frame_rate": 12.5,
    "seanet": {
        "channels": 1,
        "dimension": DIMENSION,
        "causal": True,
        "n_filters": 16,
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
        "ratios": [4, 5, 6, 8],
        "true_skip": True,
    },
    "quantizer": {
        "dimension": CODE_DIMENSION,
        "n_q": CODEBOOKS,
        "bins": BINS,
        "input_dimension": DIMENSION,
        "output_dimension": DIMENSION,
    },
    "transformer": {
        "d_model": DIMENSION,
        "num_heads": 4,
        "num_layers": 2,
        "causal": True,
        "layer_scale": 0.1,
        "context": CONTEXT,
        "conv_layout": True,
        "max_period": 10000,
        "gating": "none",
        "norm": "layer_norm",
        "positional_embedding": "rope",
        "dim_feedforward": 256,
        "input_dimension": DIMENSION,
        "output_dimensions": [DIMENSION],
    },
}


def new_model() -> MimiModel:
    return get_mimi(None, CONFIG, num_codebooks=CODEBOOKS)
