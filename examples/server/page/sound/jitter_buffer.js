// SPDX-License-Identifier: MIT
// @ts-check
// What waits to be played. It begins as late as the measured jitter asks for, and never holds more than it may: first
// silence is left out, then the oldest sound, with crossfades.

const DEFAULT_LIMIT_MS = 200;
export const LEAST_LIMIT_MS = 120;
export const MOST_LIMIT_MS = 1000;
const FADE_S = 0.005;
/** Silence is looked for in blocks of that length. */
const BLOCK_S = 0.005;
/** Of a stretch of silence, so much stays at either side. */
const KEPT_SILENCE_BLOCKS = 1;
/** What comes closer together than this was sent together. */
const BURST_S = 0.01;
const FIRST_TARGET_S = 0.04;
const LEAST_TARGET_S = 0.015;
const SAFETY_S = 0.005;
/** The server sends frames of 80 ms: the target leaves room for one. */
const FRAME_ROOM_S = 0.085;
/** Bursts that jitter is measured over: 5 s of frames. */
const WINDOW = 64;
/** More than that beyond the target, for as many bursts as this, is too much. */
const SLACK_S = 0.02;
const SETTLED_BURSTS = 25;
/** When sound must be left out, it goes down to so much under the limit, so that it does not have to be soon again. */
const ROOM_S = 0.04;

/**
 * @typedef {object} BufferReport
 * @property {number} bufferedMs
 * @property {number} targetMs What is kept in hand against jitter.
 * @property {number} waitMs How long what comes now waits until it is heard: what was there before the last bursts.
 * @property {number} limitMs
 * @property {number} skippedSilenceMs
 * @property {number} droppedMs
 * @property {number} underruns
 * @property {boolean} playing
 */

/** What is silence in this stream: follows the noise floor and the speech above it. */
export class SilenceLevel {
  #floor = 1;
  #loud = 0;

  /** @param {number} rms Of the next block. */
  add(rms) {
    this.#floor = rms < this.#floor ? Math.max(rms, 1e-6) : this.#floor * 1.001;
    this.#loud = rms > this.#loud ? rms : this.#loud * 0.9995;
  }

  /** Blocks below it are silence: near the floor, and far below the speech. */
  get level() {
    const nearFloor = this.#floor * 2.5;
    const belowSpeech = this.#loud * 0.03;
    return Math.max(5e-4, Math.min(nearFloor, belowSpeech));
  }
}

/** @param {Float32Array} samples @param {number} begin @param {number} end */
export function rmsOf(samples, begin = 0, end = samples.length) {
  let sum = 0;
  for (let n = begin; n < end; ++n) sum += samples[n] * samples[n];
  return end > begin ? Math.sqrt(sum / (end - begin)) : 0;
}

/** Measures how unevenly bursts come. Times in seconds; a position is the stream's time at the beginning of a burst. */
class Arrivals {
  /** @type {number[]} Arrival minus position, of the last bursts. */
  #delays = [];

  /** @param {number} now @param {number} position */
  add(now, position) {
    this.#delays.push(now - position);
    if (this.#delays.length > WINDOW) this.#delays.shift();
  }

  /** When the sound at position 0 would have come, had nothing been late. */
  get base() {
    return Math.min(...this.#delays);
  }

  get jitter() {
    return Math.max(...this.#delays) - this.base;
  }

  get count() {
    return this.#delays.length;
  }
}

/** One thread. push() and pull() take the time of the sound card's clock, in seconds. */
export class JitterBuffer {
  skippedSilence = 0;
  dropped = 0;
  underruns = 0;
  playing = false;

  #rate;
  #fade;
  #block;
  #limit;
  #samples;
  #begin = 0;
  #end = 0;
  #arrivals = new Arrivals();
  #silence = new SilenceLevel();
  /** Samples pushed, before and with the last burst; and when that came. */
  #pushed = 0;
  #lastPush = -Infinity;
  /** @type {number[]} What was there before each of the last bursts: what was not needed. */
  #spare = [];
  /** What was played last, for the fade when nothing follows. */
  #tail;
  #fadingOut = 0;
  #fadedIn = 0;

  /** @param {number} rate Hz @param {number} [limitMs] */
  constructor(rate, limitMs = DEFAULT_LIMIT_MS) {
    this.#rate = rate;
    this.#fade = Math.round(FADE_S * rate);
    this.#block = Math.round(BLOCK_S * rate);
    this.#limit = 0;
    this.#samples = new Float32Array(0);
    this.#tail = new Float32Array(this.#fade);
    this.#fadingOut = this.#fade;
    this.setLimit(limitMs);
  }

  /** @param {number} ms */
  setLimit(ms) {
    const clamped = Math.min(Math.max(ms, LEAST_LIMIT_MS), MOST_LIMIT_MS);
    this.#limit = Math.round(clamped / 1000 * this.#rate);
    this.#keepUnderLimit();
    const samples = new Float32Array(2 * this.#limit + 2 * this.#fade);
    samples.set(this.#samples.subarray(this.#begin, this.#end));
    this.#end -= this.#begin;
    this.#begin = 0;
    this.#samples = samples;
  }

  get buffered() {
    return this.#end - this.#begin;
  }

  /** What should be there just before the next burst comes, in samples. */
  get target() {
    const jitter = this.#arrivals.count < 3 ? FIRST_TARGET_S : this.#arrivals.jitter + SAFETY_S;
    const most = this.#limit / this.#rate - FRAME_ROOM_S;
    return Math.round(Math.min(Math.max(jitter, LEAST_TARGET_S), most) * this.#rate);
  }

  get #wait() {
    const bursts = this.#spare.length;
    return bursts > 0 ? this.#spare.reduce((sum, samples) => sum + samples, 0) / bursts : this.target;
  }

  /** @returns {BufferReport} */
  report() {
    const ms = 1000 / this.#rate;
    return {
      bufferedMs: this.buffered * ms,
      targetMs: this.target * ms,
      waitMs: this.#wait * ms,
      limitMs: this.#limit * ms,
      skippedSilenceMs: this.skippedSilence * ms,
      droppedMs: this.dropped * ms,
      underruns: this.underruns,
      playing: this.playing,
    };
  }

  /** A new stream begins; what still waits is faded out. The counts go on. */
  reset() {
    if (this.playing) this.#stop();
    this.#begin = this.#end = 0;
    this.#pushed = 0;
    this.#lastPush = -Infinity;
    this.#arrivals = new Arrivals();
    this.#spare = [];
  }

  /** @param {Float32Array} samples @param {number} now */
  push(samples, now) {
    if (now - this.#lastPush > BURST_S) {
      this.#arrivals.add(now, this.#pushed / this.#rate);
      this.#settle();
    }
    this.#lastPush = now;
    this.#pushed += samples.length;
    for (let at = 0; at < samples.length; at += this.#block) {
      const piece = samples.subarray(at, at + this.#block);
      this.#silence.add(rmsOf(piece));
      this.#append(piece);
    }
  }

  /**
   * Fills `output` with what is to be heard from `now` on.
   * @param {Float32Array} output
   * @param {number} now
   */
  pull(output, now) {
    if (!this.playing && this.buffered > 0 && this.#due(now)) {
      this.playing = true;
      this.#fadedIn = 0;
    }
    let done = 0;
    if (this.playing) {
      done = Math.min(output.length, this.buffered);
      output.set(this.#samples.subarray(this.#begin, this.#begin + done));
      this.#begin += done;
      this.#fadeIn(output, done);
      this.#remember(output, done);
      if (done < output.length) {
        ++this.underruns;
        this.#stop();
      }
    }
    this.#fadeOut(output, done);
  }

  /**
   * Whether what waits should begin to be heard.
   * @param {number} now
   */
  #due(now) {
    const next = (this.#pushed - this.buffered) / this.#rate;
    const full = this.buffered >= this.#limit - this.#block;
    return full || now >= this.#arrivals.base + next + this.target / this.#rate;
  }

  #stop() {
    this.playing = false;
    this.#fadingOut = 0;
    this.#spare = [];
  }

  /** @param {Float32Array} output @param {number} count */
  #fadeIn(output, count) {
    for (let n = 0; n < count && this.#fadedIn < this.#fade; ++n) output[n] *= this.#fadedIn++ / this.#fade;
  }

  /**
   * After the end, what was played last is heard backwards and fades: nothing jumps.
   * @param {Float32Array} output
   * @param {number} from
   */
  #fadeOut(output, from) {
    let n = from;
    for (; n < output.length && this.#fadingOut < this.#fade; ++n, ++this.#fadingOut) {
      output[n] = this.#tail[this.#fade - 1 - this.#fadingOut] * (1 - (this.#fadingOut + 1) / this.#fade);
    }
    output.fill(0, n);
  }

  /** @param {Float32Array} output @param {number} count */
  #remember(output, count) {
    if (count >= this.#fade) {
      this.#tail.set(output.subarray(count - this.#fade, count));
    } else {
      this.#tail.copyWithin(0, count);
      this.#tail.set(output.subarray(0, count), this.#fade - count);
    }
  }

  /** @param {Float32Array} piece At most a block. */
  #append(piece) {
    if (this.#end + piece.length > this.#samples.length) {
      this.#samples.copyWithin(0, this.#begin, this.#end);
      this.#end -= this.#begin;
      this.#begin = 0;
    }
    this.#samples.set(piece, this.#end);
    this.#end += piece.length;
    this.#keepUnderLimit();
  }

  #keepUnderLimit() {
    const over = this.buffered - this.#limit;
    if (over <= 0) return;
    const room = Math.round(ROOM_S * this.#rate);
    this.skippedSilence += this.#skipSilence(over + room);
    const left = this.buffered - this.#limit;
    if (left > 0) this.dropped += this.#cut(this.#begin, this.#begin + left + room);
  }

  /** With more in hand than jitter asks for, and for long: leaves out what is silent of it. */
  #settle() {
    if (!this.playing) return;
    this.#spare.push(this.buffered);
    if (this.#spare.length > SETTLED_BURSTS) this.#spare.shift();
    if (this.#spare.length < SETTLED_BURSTS) return;
    const excess = Math.min(...this.#spare) - this.target;
    if (excess <= SLACK_S * this.#rate) return;
    const skipped = this.#skipSilence(excess);
    this.skippedSilence += skipped;
    this.#spare = this.#spare.map((samples) => samples - skipped);
  }

  /** @param {number} most Samples. @returns {number} How many were left out. */
  #skipSilence(most) {
    const block = this.#block, level = this.#silence.level;
    let skipped = 0, at = this.#begin;
    while (skipped < most && at + block <= this.#end) {
      let end = at;
      while (end + block <= this.#end && rmsOf(this.#samples, end, end + block) < level) end += block;
      const begin = at + KEPT_SILENCE_BLOCKS * block;
      const last = Math.min(end - KEPT_SILENCE_BLOCKS * block, begin + most - skipped);
      const cut = last > begin ? this.#cut(begin, last) : 0;
      skipped += cut;
      at = end - cut + block;
    }
    return skipped;
  }

  /**
   * Takes [begin, end) out, with a crossfade into what follows.
   * @param {number} begin
   * @param {number} end
   * @returns {number} How many samples.
   */
  #cut(begin, end) {
    const samples = this.#samples;
    const last = Math.min(end, this.#end);
    const fade = Math.min(this.#fade, last - begin, this.#end - last);
    for (let n = 0; n < fade; ++n) {
      const weight = (n + 1) / (fade + 1);
      samples[last + n] = samples[begin + n] * (1 - weight) + samples[last + n] * weight;
    }
    samples.copyWithin(begin, last, this.#end);
    this.#end -= last - begin;
    return last - begin;
  }
}
