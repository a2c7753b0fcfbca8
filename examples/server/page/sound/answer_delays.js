// SPDX-License-Identifier: MIT
// @ts-check
// How long the answers take: frame n that is heard is answered by number n - 1 of those that come, since the first
// frame of a conversation is not heard. What the server drops of the sound that is sent need not be whole frames.
import {FRAME_SAMPLES} from './protocol.js';

const KEPT = 512;
/** Packets that may be under way: beyond, what is not answered never will be. */
const MOST_UNDER_WAY = 512;

export class AnswerDelays {
  #sentSamples = 0;
  #receivedSamples = 0;
  #dropped = 0;
  /**
   * Packets, oldest first: samples that were sent up to its end, and when it was sent.
   * @type {{end: number, at: number}[]}
   */
  #sent = [];
  /** @type {number[]} */
  #delays = [];

  get sentFrames() {
    return Math.floor(this.#sentSamples / FRAME_SAMPLES);
  }

  get receivedFrames() {
    return Math.floor(this.#receivedSamples / FRAME_SAMPLES);
  }

  /** @param {number} samples @param {number} now ms */
  sent(samples, now) {
    this.#sentSamples += samples;
    this.#sent.push({end: this.#sentSamples, at: now});
    if (this.#sent.length > MOST_UNDER_WAY) this.#sent.shift();
  }

  /** @param {number} samples @param {number} now ms */
  received(samples, now) {
    const before = this.receivedFrames;
    this.#receivedSamples += samples;
    for (let answer = before; answer < this.receivedFrames; ++answer) {
      const end = (answer + 2) * FRAME_SAMPLES + this.#dropped;
      while (this.#sent.length > 0 && this.#sent[0].end < end) this.#sent.shift();
      if (this.#sent.length === 0) continue;
      this.#delays.push(now - this.#sent[0].at);
      if (this.#delays.length > KEPT) this.#delays.shift();
    }
  }

  /**
   * What the server did not hear, since the beginning.
   * @param {number} samples
   */
  dropped(samples) {
    this.#dropped = samples;
  }

  /** @returns {{last: number, p50: number, p99: number} | null} ms */
  get figures() {
    if (this.#delays.length === 0) return null;
    const sorted = [...this.#delays].sort((a, b) => a - b);
    const at = (/** @type {number} */ part) => sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))];
    return {last: this.#delays[this.#delays.length - 1], p50: at(0.5), p99: at(0.99)};
  }
}
