// SPDX-License-Identifier: MIT
// @ts-check
// Between the sound card's rate, Opus' 48 kHz and the model's 24 kHz: a windowed sinc, in as many phases as the ratio
// of the rates needs, so that nothing drifts however long it runs.

/** Zero crossings of the sinc on each side. As it is, sound is flat up to 84 % of half the lower rate, and 80 dB down
 * beyond that half. */
const CROSSINGS = 32;
const KAISER_BETA = 8;
/** Where the filter is half way down, as part of half the lower rate. */
const CUTOFF = 0.92;

/**
 * Modified Bessel function of the first kind, order zero.
 * @param {number} x
 */
function bessel(x) {
  let sum = 1, term = 1;
  for (let n = 1; term > 1e-12 * sum; ++n) {
    term *= (x / (2 * n)) ** 2;
    sum += term;
  }
  return sum;
}

/** @param {number} a @param {number} b @returns {number} */
function greatestDivisor(a, b) {
  return b === 0 ? a : greatestDivisor(b, a % b);
}

/** Resamples a stream in pieces of any length. The filter's delay is taken out: what is missing comes with flush(). */
export class Resampler {
  #up;
  #down;
  #half;
  /**
   * One filter for each phase, of 2 * half taps.
   * @type {Float32Array[]}
   */
  #filters;
  /** Input that is still needed; the first sample is number #first of the stream. */
  #held;
  #first;
  #taken = 0;
  #given = 0;

  /** @param {number} from Hz @param {number} to Hz */
  constructor(from, to) {
    const divisor = greatestDivisor(from, to);
    this.#up = to / divisor;
    this.#down = from / divisor;
    const cutoff = CUTOFF * Math.min(1, to / from);
    this.#half = Math.ceil(CROSSINGS / cutoff);
    this.#filters = from === to ? [] :
      Array.from({length: this.#up}, (_, phase) => makeFilter(phase / this.#up, this.#half, cutoff));
    this.#held = new Float32Array(this.#half);
    this.#first = -this.#half;
  }

  /**
   * Begins a live stream: from now on each process() gives as much as it takes, in time. The filter's delay, about
   * 1 ms, stays in the sound, as silence in front.
   */
  prime() {
    if (this.#filters.length > 0) this.process(new Float32Array(this.#half));
    return this;
  }

  /**
   * @param {Float32Array} input
   * @returns {Float32Array} What has become known of the output; the input itself if the rates are equal.
   */
  process(input) {
    this.#taken += input.length;
    if (this.#filters.length === 0) {
      this.#given += input.length;
      return input;
    }
    return this.#run(input);
  }

  /** The rest, as if silence followed: in all, as much as came in lasts, rounded up to a sample. Then a new stream. */
  flush() {
    const rest = this.#filters.length === 0 ? new Float32Array(0) :
      this.#run(new Float32Array(this.#half)).slice(0, this.#left());
    this.#held = new Float32Array(this.#half);
    this.#first = -this.#half;
    this.#taken = this.#given = 0;
    return rest;
  }

  /** What of the last output that #run() has given belongs to the stream. */
  #left() {
    return Math.max(0, Math.ceil(this.#taken * this.#up / this.#down) - this.#before);
  }
  #before = 0;

  /** @param {Float32Array} input */
  #run(input) {
    const held = new Float32Array(this.#held.length + input.length);
    held.set(this.#held);
    held.set(input, this.#held.length);
    const up = this.#up, down = this.#down, half = this.#half, first = this.#first;
    // Output n lies at input n * down / up, and needs `half` samples on either side of that.
    const known = first + held.length;
    const count = Math.max(0, Math.ceil((known - half) * up / down) - this.#given);
    const output = new Float32Array(count);
    for (let n = 0; n < count; ++n) {
      const at = (this.#given + n) * down;
      const whole = Math.floor(at / up);
      const filter = this.#filters[at - whole * up];
      const begin = whole - half + 1 - first;
      let sum = 0;
      for (let tap = 0; tap < filter.length; ++tap) sum += filter[tap] * held[begin + tap];
      output[n] = sum;
    }
    this.#before = this.#given;
    this.#given += count;
    const next = Math.min(Math.floor(this.#given * down / up) - half + 1, known);
    this.#held = held.slice(next - first);
    this.#first = next;
    return output;
  }
}

/** @param {number} offset 0 to 1 @param {number} half @param {number} cutoff */
function makeFilter(offset, half, cutoff) {
  const taps = Float64Array.from({length: 2 * half}, (_, tap) => {
    const x = tap - half + 1 - offset;
    const angle = Math.PI * x * cutoff;
    const sinc = angle === 0 ? 1 : Math.sin(angle) / angle;
    const inside = 1 - (x / half) ** 2;
    return inside <= 0 ? 0 : sinc * bessel(KAISER_BETA * Math.sqrt(inside));
  });
  const sum = taps.reduce((total, tap) => total + tap, 0);
  return Float32Array.from(taps, (tap) => tap / sum);
}
