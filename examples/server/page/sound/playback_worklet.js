// SPDX-License-Identifier: MIT
// @ts-check
// Plays what the page gives it through a jitter buffer, and tells ten times a second what was played and how that went.
import {JitterBuffer} from './jitter_buffer.js';

const REPORT_S = 0.1;

/**
 * @typedef {{sound: Float32Array} | {limitMs: number} | {reset: true}} PlaybackOrder
 */
/** @typedef {{frame: number, samples: Float32Array, report: import('./jitter_buffer.js').BufferReport}} Played */

export class PlaybackProcessor extends AudioWorkletProcessor {
  #buffer = new JitterBuffer(sampleRate);
  #played = new Float32Array(Math.round(REPORT_S * sampleRate));
  #filled = 0;

  constructor() {
    super();
    this.port.onmessage = (event) => this.#obey(event.data);
  }

  /** @param {PlaybackOrder} order */
  #obey(order) {
    if ('sound' in order) {
      this.#buffer.push(order.sound, currentTime);
    } else if ('limitMs' in order) {
      this.#buffer.setLimit(order.limitMs);
    } else {
      this.#buffer.reset();
    }
  }

  /** @param {Float32Array[][]} _inputs @param {Float32Array[][]} outputs */
  process(_inputs, outputs) {
    const channel = outputs[0][0];
    this.#buffer.pull(channel, currentTime);
    for (let done = 0; done < channel.length;) {
      const count = Math.min(channel.length - done, this.#played.length - this.#filled);
      this.#played.set(channel.subarray(done, done + count), this.#filled);
      this.#filled += count;
      done += count;
      if (this.#filled === this.#played.length) this.#send(currentFrame + done);
    }
    return true;
  }

  /** @param {number} end */
  #send(end) {
    const samples = this.#played;
    this.#played = new Float32Array(samples.length);
    this.#filled = 0;
    const played = {frame: end - samples.length, samples, report: this.#buffer.report()};
    this.port.postMessage(played, [samples.buffer]);
  }
}

registerProcessor('moshi-playback', PlaybackProcessor);
