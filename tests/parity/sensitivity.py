# SPDX-License-Identifier: MIT
"""Shows that the comparison with the reference notices a defect anywhere in the network: the core gets a model in
which one tensor is off by a little, and at least one check must fail.
"""

import os
import shutil

import numpy as np

import compare
import weights
from processes import ProcessFailed

RUN = "few"
# By what the tensor is multiplied. Audio is compared with an absolute limit and needs the larger ones.
CHANGES = {
    "encoder.model.0.conv.conv.bias": 1.01,
    "encoder.model.4.block.3.conv.conv.weight": 1.001,
    "encoder_transformer.transformer.layers.1.self_attn.in_proj_weight": 1.001,
    "encoder_transformer.transformer.layers.0.layer_scale_2.scale": 1.001,
    "encoder_transformer.transformer.layers.1.norm1.bias": 1.01,
    "downsample.conv.conv.conv.weight": 1.0001,
    "quantizer.rvq_first.vq.layers.0._codebook.cluster_usage": 1.01,
    "quantizer.rvq_rest.vq.layers.5._codebook.embedding_sum": 1.01,
    "quantizer.rvq_rest.output_proj.weight": 1.0001,
    "upsample.convtr.convtr.convtr.weight": 1.01,
    "decoder_transformer.transformer.layers.0.linear1.weight": 1.02,
    "decoder.model.2.convtr.convtr.bias": 1.05,
    "decoder.model.14.conv.conv.weight": 1.01,
}


def change(model, directory, name, factor):
    """A copy of the model with one tensor multiplied by `factor`."""
    shutil.copytree(model, directory)
    tensors = weights.Tensors(os.path.join(directory, "mimi.safetensors"))
    changed = (tensors.read(name) * np.float32(factor)).astype("<f4").tobytes()
    with open(tensors.path, "r+b") as file:
        file.seek(tensors.start + tensors.header[name]["data_offsets"][0])
        file.write(changed)


def noticed(shape, output):
    """Which of the comparisons fail."""
    ours, theirs = shape.load(RUN, f"lockstep.{output}"), shape.references[RUN]
    active, found = shape.runs[RUN]["exec"], []
    if compare.compare_codes(shape.quantizer, ours["codes"], ours["latent"], theirs, active).wrong:
        found.append("codes")
    for key in [key for key in ours if key.startswith(("latent", "declat"))]:
        if not compare.latent_error(ours[key], theirs[key], active) <= compare.LATENT:
            found.append(key)
    for key in [key for key in ours if key.startswith("audio")]:
        if not compare.audio_error(ours[key], theirs[key], active) <= compare.AUDIO:
            found.append(key)
    return found


def check(shape):
    for number, (name, factor) in enumerate(CHANGES.items()):
        title = f"{shape.name}: {name} times {factor} is noticed"
        directory, output = os.path.join(shape.folder, f"changed-{number}"), f"changed{number}"
        try:
            change(shape.model, directory, name, factor)
            shape.processes.core(directory, output, shape.work(lockstep=[RUN]))
            found = noticed(shape, output)
            shape.report.check(title, None if found else "all comparisons pass", ", ".join(found))
        except ProcessFailed as error:
            shape.report.check(title, str(error))
