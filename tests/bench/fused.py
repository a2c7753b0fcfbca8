# SPDX-License-Identifier: MIT
"""fused.py FROM TO: writes a Mimi checkpoint with the attention tensors' names of the published files.

rustymimi knows only those; the reference and this project read both kinds.
"""
import re
import sys

from safetensors.numpy import load_file, save_file

RENAMED = ((r"\.self_attn\.in_projs\.0\.weight$", ".self_attn.in_proj_weight"),
           (r"\.self_attn\.out_projs\.0\.weight$", ".self_attn.out_proj.weight"))


def published(name):
    for pattern, replacement in RENAMED:
        name = re.sub(pattern, replacement, name)
    return name


save_file({published(name): tensor for name, tensor in load_file(sys.argv[1]).items()}, sys.argv[2])
