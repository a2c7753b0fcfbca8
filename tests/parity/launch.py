# SPDX-License-Identifier: MIT
"""gst-launch-1.0 with the build's plugin, in a folder of a shape's own."""

import os

import numpy as np

import processes
from processes import ProcessFailed

SECONDS = 120


class Launcher:
    def __init__(self, shape):
        self.shape, self.config = shape, shape.config
        self.folder = os.path.join(shape.folder, "pipelines")
        os.makedirs(self.folder, exist_ok=True)
        build = os.path.dirname(os.path.dirname(shape.processes.library))
        self.environment = {
            "GST_PLUGIN_PATH": os.path.join(build, "gst"),
            "GST_REGISTRY": os.path.join(self.folder, "registry.bin"),
            "GST_REGISTRY_FORK": "no",
            "MOSHI_DEFAULT_MODEL": "",
        }

    def path(self, name):
        return os.path.join(self.folder, name)

    def has(self, element):
        try:
            processes.run(["gst-inspect-1.0", element], SECONDS, self.environment)
        except ProcessFailed:
            return False
        return True

    def launch(self, text, *outputs):
        """Runs a pipeline that writes these files of the folder; their bytes."""
        for output in outputs:
            if os.path.exists(self.path(output)):
                os.remove(self.path(output))
        processes.run(["gst-launch-1.0", "-q", *text.split()], SECONDS, self.environment)
        contents = []
        for output in outputs:
            with open(self.path(output), "rb") as file:
                contents.append(file.read())
        return contents


def difference(ours, theirs, unit, whose):
    """Where two arrays differ, in words, or None."""
    if len(ours) != len(theirs):
        return f"{len(ours)} {unit}s, {len(theirs)} from the {whose}"
    if (ours != theirs).any():
        return f"{unit} {int(np.argmax(ours != theirs))} of {len(ours)} differs from the {whose}'s"
    return None
