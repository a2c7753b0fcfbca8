// SPDX-License-Identifier: MIT
// @ts-check
// Samples without a codec, for browsers without WebCodecs: signed 16-bit little-endian at 24 kHz (`audio=pcm`). The
// same shape as opus_codec.js.
import {SAMPLE_RATE} from './protocol.js';
import {Resampler} from './resampler.js';

/** @param {number} sample -1 to 1, or beyond */
export function toInt16(sample) {
  return Math.max(-32768, Math.min(32767, Math.round(sample * 32768)));
}

export class PcmSender {
  #resampler;
  #onPacket;

  /**
   * @param {number} rate Of what is written.
   * @param {(payload: () => Uint8Array, samples: number) => void} onPacket
   */
  constructor(rate, onPacket) {
    this.#resampler = new Resampler(rate, SAMPLE_RATE).prime();
    this.#onPacket = onPacket;
  }

  /** @param {Float32Array} samples */
  write(samples) {
    const sound = this.#resampler.process(samples);
    if (sound.length === 0) return;
    const payload = new Uint8Array(2 * sound.length);
    const view = new DataView(payload.buffer);
    sound.forEach((sample, n) => view.setInt16(2 * n, toInt16(sample), true));
    this.#onPacket(() => payload, sound.length);
  }

  close() {}
}

export class PcmReceiver {
  #resampler;
  #onSound;
  /** @type {number[]} A byte that lacks its other half. */
  #half = [];

  /**
   * @param {number} rate Of what is given.
   * @param {(samples: Float32Array) => void} onSound
   */
  constructor(rate, onSound) {
    this.#resampler = new Resampler(SAMPLE_RATE, rate).prime();
    this.#onSound = onSound;
  }

  /** @param {Uint8Array} payload @returns {number} How much sound has come, in samples at 24 kHz. */
  read(payload) {
    const bytes = Uint8Array.from([...this.#half, ...payload]);
    const count = bytes.length >> 1;
    this.#half = bytes.length & 1 ? [bytes[bytes.length - 1]] : [];
    const view = new DataView(bytes.buffer);
    const samples = Float32Array.from({length: count}, (_, n) => view.getInt16(2 * n, true) / 32768);
    if (count > 0) this.#onSound(this.#resampler.process(samples));
    return count;
  }

  close() {}
}
