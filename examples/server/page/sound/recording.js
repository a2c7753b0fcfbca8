// SPDX-License-Identifier: MIT
// @ts-check
// Both sides of a conversation on one clock, left you, right Moshi. What is complete is kept as Blobs, which browsers
// put on disk, so that the page's own memory stays small.
import {toInt16} from './pcm_codec.js';
import {SAMPLE_RATE} from './protocol.js';
import {Resampler} from './resampler.js';

const BLOCK = 10 * SAMPLE_RATE;
/** Blocks that may still be written to; a side that is further behind is recorded as silence. */
const OPEN_BLOCKS = 3;
/** A gap of more than that is silence; less is the clock's rounding. */
const GAP_S = 0.005;
const SIDES = 2;
const HEADER_BYTES = 44;

/** One side: a stream that may have gaps. */
class Side {
  #write;
  /** @type {Resampler | null} */
  #resampler = null;
  #nextTime = 0;
  /** Samples at 24 kHz up to which it is known. */
  position = 0;

  /** @param {(position: number, samples: Float32Array) => void} write */
  constructor(write) {
    this.#write = write;
  }

  /** @param {number} time s @param {number} rate @param {Float32Array} samples */
  add(time, rate, samples) {
    if (!this.#resampler || Math.abs(time - this.#nextTime) > GAP_S) this.#begin(time, rate);
    this.#nextTime = time + samples.length / rate;
    if (this.#resampler) this.#append(this.#resampler.process(samples));
  }

  /** @param {number} time @param {number} rate */
  #begin(time, rate) {
    if (this.#resampler) this.#append(this.#resampler.flush());
    this.#resampler = new Resampler(rate, SAMPLE_RATE);
    this.position = Math.max(this.position, Math.round(time * SAMPLE_RATE));
  }

  /** @param {Float32Array} samples */
  #append(samples) {
    this.#write(this.position, samples);
    this.position += samples.length;
  }
}

export class Recording {
  limit;
  #you;
  #moshi;
  /** @type {Blob[]} */
  #sealed = [];
  /**
   * The blocks that follow, samples of both sides in turn.
   * @type {Int16Array[]}
   */
  #open = [];

  /** @param {number} limit Most that is recorded, s. */
  constructor(limit) {
    this.limit = limit;
    this.#you = new Side((position, samples) => this.#write(0, position, samples));
    this.#moshi = new Side((position, samples) => this.#write(1, position, samples));
  }

  /** Of what has been recorded. */
  get seconds() {
    return this.#length / SAMPLE_RATE;
  }

  get full() {
    return this.#length >= this.#most;
  }

  get #most() {
    return Math.round(this.limit * SAMPLE_RATE);
  }

  get #length() {
    return Math.min(this.#most, Math.max(this.#you.position, this.#moshi.position));
  }

  /** @param {'you' | 'moshi'} side @param {number} time s, at the first sample @param {number} rate
   * @param {Float32Array} samples */
  add(side, time, rate, samples) {
    if (!this.full) (side === 'you' ? this.#you : this.#moshi).add(time, rate, samples);
  }

  /** @returns {Blob | null} */
  wav() {
    const length = this.#length;
    if (length === 0) return null;
    /** @type {BlobPart[]} */
    const parts = [wavHeader(length), ...this.#sealed];
    let left = length - this.#sealed.length * BLOCK;
    for (const block of this.#open) {
      parts.push(block.slice(0, SIDES * Math.min(Math.max(left, 0), BLOCK)));
      left -= BLOCK;
    }
    return new Blob(parts, {type: 'audio/wav'});
  }

  /** @param {number} side @param {number} position @param {Float32Array} samples */
  #write(side, position, samples) {
    const end = Math.min(samples.length, this.#most - position);
    for (let n = 0; n < end; ++n) {
      const at = position + n - this.#sealed.length * BLOCK;
      if (at < 0) continue;
      const block = this.#blockAt(Math.floor(at / BLOCK));
      block[SIDES * ((position + n) % BLOCK) + side] = toInt16(samples[n]);
    }
  }

  /** @param {number} index Among those that are open. */
  #blockAt(index) {
    while (this.#open.length <= index) this.#open.push(new Int16Array(SIDES * BLOCK));
    while (this.#open.length > OPEN_BLOCKS) {
      const block = /** @type {Int16Array} */ (this.#open.shift());
      this.#sealed.push(new Blob([block]));
      --index;
    }
    return this.#open[index];
  }
}

/** @param {number} samples Of each side. */
function wavHeader(samples) {
  const header = new Uint8Array(HEADER_BYTES);
  const view = new DataView(header.buffer);
  const frameBytes = 2 * SIDES, bytes = samples * frameBytes;
  header.set(new TextEncoder().encode('RIFF....WAVEfmt '));
  view.setUint32(4, HEADER_BYTES - 8 + bytes, true);
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true);  // PCM
  view.setUint16(22, SIDES, true);
  view.setUint32(24, SAMPLE_RATE, true);
  view.setUint32(28, SAMPLE_RATE * frameBytes, true);
  view.setUint16(32, frameBytes, true);
  view.setUint16(34, 16, true);
  header.set(new TextEncoder().encode('data'), 36);
  view.setUint32(40, bytes, true);
  return header;
}
