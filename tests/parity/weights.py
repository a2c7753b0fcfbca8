# SPDX-License-Identifier: MIT
"""The quantizer's numbers of a Mimi weight file, for the margins of codes. Reads safetensors with numpy alone."""

import json

import numpy as np

_DTYPES = {"F32": "<f4", "F64": "<f8", "F16": "<f2"}


class Tensors:
    def __init__(self, path):
        self.path = path
        with open(path, "rb") as file:
            size = int.from_bytes(file.read(8), "little")
            self.header = json.loads(file.read(size))
        self.start = 8 + size

    def names(self):
        return [name for name in self.header if name != "__metadata__"]

    def read(self, name):
        entry = self.header[name]
        begin, end = entry["data_offsets"]
        dtype = np.dtype(_DTYPES[entry["dtype"]])
        count = (end - begin) // dtype.itemsize
        data = np.fromfile(self.path, dtype, count, offset=self.start + begin)
        return data.reshape(entry["shape"])


class Quantizer:
    """Codebooks in f64, as the reference makes them in f32, and the projections that lead to them."""

    def __init__(self, path):
        tensors = Tensors(path)
        self.books = []
        self.projections = []
        for branch in ("rvq_first", "rvq_rest"):
            prefix = f"quantizer.{branch}."
            self.projections.append(tensors.read(prefix + "input_proj.weight")[:, :, 0].astype(np.float64))
            level = 0
            while f"{prefix}vq.layers.{level}._codebook.embedding_sum" in tensors.header:
                book = f"{prefix}vq.layers.{level}._codebook."
                usage = np.maximum(tensors.read(book + "cluster_usage"), np.float32(1e-5))
                rows = tensors.read(book + "embedding_sum") / usage[:, None]
                self.books.append(rows.astype(np.float64))
                level += 1

    def project(self, latent, level):
        """What codebook `level`'s branch starts from, given the latent of one frame."""
        return self.projections[0 if level == 0 else 1] @ latent.astype(np.float64)

    def distances(self, residual, level):
        return np.sqrt(((self.books[level] - residual.astype(np.float64)) ** 2).sum(axis=1))
