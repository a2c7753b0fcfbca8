# SPDX-License-Identifier: MIT
"""Makes a random Mimi checkpoint whose codes mean something, with the oracle's own modules.

As initialized, a random network gives one code for every frame and hides every defect. So speech runs through it
and each convolution is scaled to the speech, attention is made sharp enough to matter, and codebooks are drawn from
the residuals that they will see.
"""

import argparse
import json
import os

import numpy as np
import torch
from moshi.models.loaders import get_mimi
from safetensors.torch import save_file
from torch import nn

OUTPUT_DEVIATION = 0.15  # of the decoded audio, as of speech
SHRINK_CHOICES = (1.0, 0.7, 0.5, 0.35, 0.25)


def _fill(tensor, generator, deviation, mean=0.0):
    tensor.data.copy_(torch.randn(tensor.shape, generator=generator) * deviation + mean)


def randomize_transformer(module, generator):
    for name, parameter in module.named_parameters():
        if name.endswith("scale"):
            parameter.data.copy_(torch.empty(parameter.shape).uniform_(0.05, 0.3, generator=generator))
        elif "norm" in name:
            _fill(parameter, generator, 0.1, 1.0 if name.endswith("weight") else 0.0)
        else:
            _fill(parameter, generator, parameter.shape[1] ** -0.5)
        if "in_projs" in name:
            width = parameter.shape[1]
            parameter.data[: 2 * width] *= 1.5  # queries and keys: attention that prefers some steps to others


def scale_convolutions(module, generator, target=1.0):
    """Hooks that scale each convolution to the speech that runs through it, and center its channels."""
    handles = []

    def hook(conv, _inputs, output):
        shape = [1, -1] + [1] * (output.dim() - 2)
        deviation = output.std() / target
        center = output.mean(dim=[0, *range(2, output.dim())])
        if conv.bias is not None:
            noise = 0.1 * target * torch.randn(center.shape, generator=generator)
            output = (output - center.view(shape)) / deviation + noise.view(shape)
            conv.bias.data = (conv.bias.data - center) / deviation + noise
        else:
            output = output / deviation
        conv.weight.data /= deviation
        return output

    for child in module.modules():
        if isinstance(child, (nn.Conv1d, nn.ConvTranspose1d)):
            _fill(child.weight, generator, 1.0)
            if child.bias is not None:
                child.bias.data.zero_()
            handles.append(child.register_forward_hook(hook))
    return handles


def run_once(module, generator, *inputs, target=1.0):
    """Runs `inputs` through `module` while its convolutions are scaled to them."""
    handles = scale_convolutions(module, generator, target)
    result = module(*inputs)
    for handle in handles:
        handle.remove()
    return result


def draw_codebook(book, residual, generator):
    """Rows from every second residual plus noise, sized to serve the other half best. Returns the new residual.

    The half that is drawn from meets its own rows and shrinks fast from level to level; speech that is encoded later
    does not, so that rows take their size from the half that they have not seen.
    """
    drawn, unseen = residual[0::2], residual[1::2]
    rows = drawn[torch.randint(len(drawn), (book.codebook_size,), generator=generator)]
    rows = rows * (unseen.norm() / unseen.shape[0] ** 0.5) / (drawn.norm() / drawn.shape[0] ** 0.5)
    rows = rows + 0.5 * torch.randn(rows.shape, generator=generator) * unseen.std(dim=0)
    costs = [torch.cdist(unseen, rows * shrink).min(dim=1).values.mean().item() for shrink in SHRINK_CHOICES]
    rows = rows * SHRINK_CHOICES[int(np.argmin(costs))]
    usage = torch.empty(book.codebook_size).uniform_(0.2, 3.2, generator=generator)
    book.cluster_usage.copy_(usage)
    book.embedding_sum.copy_(rows * usage[:, None])
    book._initialized.fill_(1)
    book.register_buffer("_embedding", None, persistent=False)
    return residual - book.decode(book.encode(residual))


def draw_quantizer(quantizer, latent, generator):
    for branch in (quantizer.rvq_first, quantizer.rvq_rest):
        projected = run_once(branch.input_proj, generator, latent)
        residual = projected.transpose(1, 2).reshape(-1, projected.shape[1])
        for layer in branch.vq.layers:
            residual = draw_codebook(layer._codebook, residual, generator)


@torch.no_grad()
def make_mimi(config, speech, seed):
    """A scaled random model of this shape; `speech` is one row of samples in whole frames."""
    generator = torch.Generator().manual_seed(seed)
    model = get_mimi(None, config, num_codebooks=config["quantizer"]["n_q"] if config else 32)
    audio = torch.from_numpy(speech).view(1, 1, -1)
    latent = run_once(model.encoder, generator, audio)
    randomize_transformer(model.encoder_transformer, generator)
    (latent,) = model.encoder_transformer(latent)
    if hasattr(model, "downsample"):
        latent = run_once(model.downsample, generator, latent)
    draw_quantizer(model.quantizer, latent, generator)
    codes = model.quantizer.encode(latent)
    for branch, part in ((model.quantizer.rvq_first, codes[:, :1]), (model.quantizer.rvq_rest, codes[:, 1:])):
        run_once(branch.output_proj, generator, branch.vq.decode(part.transpose(0, 1)))
    decoded = model.quantizer.decode(codes)
    if hasattr(model, "upsample"):
        decoded = run_once(model.upsample, generator, decoded)
    randomize_transformer(model.decoder_transformer, generator)
    (decoded,) = model.decoder_transformer(decoded)
    run_once(model.decoder, generator, decoded)
    last = [child for child in model.decoder.modules() if isinstance(child, nn.Conv1d)][-1]
    last.weight.data *= OUTPUT_DEVIATION
    last.bias.data *= OUTPUT_DEVIATION
    return model


def disk_names(state):
    """The state under the names that published files use: attention weights fused."""
    renamed = {}
    for name, tensor in state.items():
        name = name.replace(".in_projs.0.weight", ".in_proj_weight").replace(".out_projs.0.weight", ".out_proj.weight")
        renamed[name] = tensor.contiguous().clone()
    return renamed


def write_model(directory, config, model):
    """A model directory: config.json, weights and, for a shape that is not the default one, the Mimi configuration."""
    os.makedirs(directory, exist_ok=True)
    names = {"model_type": "moshi", "mimi_name": "mimi.safetensors"}
    if config is not None:
        names["mimi_config_name"] = "mimi_config.json"
        with open(os.path.join(directory, "mimi_config.json"), "w", encoding="utf-8") as file:
            json.dump(config, file, indent=1)
    with open(os.path.join(directory, "config.json"), "w", encoding="utf-8") as file:
        json.dump(names, file, indent=1)
    save_file(disk_names(model.state_dict()), os.path.join(directory, "mimi.safetensors"))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", help="Mimi configuration as JSON; none: the default shape")
    parser.add_argument("--speech", required=True, help=".npy of f32 samples, whole frames")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--output", required=True, help="directory to write")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    config = None
    if arguments.config:
        with open(arguments.config, encoding="utf-8") as file:
            config = json.load(file)
    model = make_mimi(config, np.load(arguments.speech), arguments.seed)
    write_model(arguments.output, config, model)


if __name__ == "__main__":
    main()
