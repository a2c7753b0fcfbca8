// SPDX-License-Identifier: MIT
// @ts-check
// How long the answers take: frame n that is sent is answered by number n - 1 of those that come, since the first frame
// of a conversation is not heard.
import {FRAME_SAMPLES} from './protocol.js';

const KEPT = 512;
/** Frames that may be under way: beyond, what is not answered never will be. */
const MOST_UNDER_WAY = 128;

export class AnswerDelays {
  #sentSamples = 0;
  #receivedSamples = 0;
  #dropped = 0;
  /**
   * When the last packet of a frame was sent.
   * @type {Map<number, number>}
   */
  #sentAt = new Map();
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
    const before = this.sentFrames;
    this.#sentSamples += samples;
    for (let frame = before; frame < this.sentFrames; ++frame) {
      this.#sentAt.set(frame, now);
      this.#sentAt.delete(frame - MOST_UNDER_WAY);
    }
  }

  /** @param {number} samples @param {number} now ms */
  received(samples, now) {
    const before = this.receivedFrames;
    this.#receivedSamples += samples;
    for (let answer = before; answer < this.receivedFrames; ++answer) {
      const frame = answer + 1 + this.#dropped;
      const sentAt = this.#sentAt.get(frame);
      if (sentAt === undefined) continue;
      this.#sentAt.delete(frame);
      this.#delays.push(now - sentAt);
      if (this.#delays.length > KEPT) this.#delays.shift();
    }
  }

  /**
   * Frames that the server did not hear, since the beginning.
   * @param {number} frames
   */
  dropped(frames) {
    this.#dropped = frames;
  }

  /** @returns {{last: number, p50: number, p99: number} | null} ms */
  get figures() {
    if (this.#delays.length === 0) return null;
    const sorted = [...this.#delays].sort((a, b) => a - b);
    const at = (/** @type {number} */ part) => sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))];
    return {last: this.#delays[this.#delays.length - 1], p50: at(0.5), p99: at(0.99)};
  }
}
