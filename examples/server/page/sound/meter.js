// SPDX-License-Identifier: MIT
// @ts-check
// How loud one side was since it was last asked.

export class Meter {
  #sum = 0;
  #count = 0;
  #peak = 0;

  /** @param {Float32Array} samples */
  add(samples) {
    for (const sample of samples) {
      this.#sum += sample * sample;
      this.#peak = Math.max(this.#peak, Math.abs(sample));
    }
    this.#count += samples.length;
  }

  /** @returns {import('./conversation.js').Level} */
  take() {
    const level = {rms: this.#count > 0 ? Math.sqrt(this.#sum / this.#count) : 0, peak: this.#peak};
    this.#sum = this.#count = this.#peak = 0;
    return level;
  }
}
