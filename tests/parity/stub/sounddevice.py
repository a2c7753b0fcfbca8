# SPDX-License-Identifier: MIT
"""In the place of the package of this name: a microphone that plays a file, and a loudspeaker that writes one.

Both are raw f32 samples: STUB_MICROPHONE is read, and silence comes after it; STUB_SPEAKER is written. As in the real
package each stream has a thread, which calls back for each block in real time.
"""

import os
import threading
import time

import numpy as np


class _Stream:
    def __init__(self, samplerate, channels, blocksize, callback):
        self.shape, self.callback = (blocksize, channels), callback
        self.seconds = blocksize / samplerate
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._ended.set()
        self._thread.join()

    def _run(self):
        due = time.monotonic() + self.seconds
        while not self._ended.wait(max(0, due - time.monotonic())):
            self._block()
            due += self.seconds


class InputStream(_Stream):
    def __init__(self, **options):
        super().__init__(**options)
        self._samples = np.fromfile(os.environ["STUB_MICROPHONE"], "<f4")
        self._at = 0

    def _block(self):
        block = np.zeros(self.shape, np.float32)
        part = self._samples[self._at : self._at + len(block)]
        block[: len(part)] = part[:, None]
        self._at += len(part)
        self.callback(block, len(block), None, None)


class OutputStream(_Stream):
    def _block(self):
        block = np.full(self.shape, np.nan, np.float32)  # what is not written must not pass for silence
        self.callback(block, len(block), None, None)
        with open(os.environ["STUB_SPEAKER"], "ab") as file:
            file.write(block[:, 0].astype("<f4").tobytes())
