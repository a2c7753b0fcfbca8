// SPDX-License-Identifier: MIT
// @ts-check
// Gives the page what the microphone hears, in blocks of 20 ms with their time.

const BLOCK_S = 0.02;

/** @typedef {{frame: number, samples: Float32Array}} Captured  `frame`: of the context's clock, at the first sample. */

export class CaptureProcessor extends AudioWorkletProcessor {
  #block = new Float32Array(Math.round(BLOCK_S * sampleRate));
  #filled = 0;

  /** @param {Float32Array[][]} inputs */
  process(inputs) {
    const channel = inputs[0]?.[0];
    const length = channel?.length ?? 128;  // none: the microphone is gone for now, the clock is not
    for (let done = 0; done < length;) {
      const count = Math.min(length - done, this.#block.length - this.#filled);
      if (channel) this.#block.set(channel.subarray(done, done + count), this.#filled);
      this.#filled += count;
      done += count;
      if (this.#filled === this.#block.length) this.#send(currentFrame + done);
    }
    return true;
  }

  /** @param {number} end */
  #send(end) {
    const samples = this.#block;
    this.#block = new Float32Array(samples.length);
    this.#filled = 0;
    this.port.postMessage({frame: end - samples.length, samples}, [samples.buffer]);
  }
}

registerProcessor('moshi-capture', CaptureProcessor);
