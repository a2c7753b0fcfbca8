// SPDX-License-Identifier: MIT
// @ts-check
// The last seconds of both voices as two bands of bars, and their levels in words for those who do not see them. Where
// motion is not wanted the bars stand still, and are written over from left to right.
import {byId} from './elements.js';

const BAR_PX = 3;
const STEP_PX = 5;
const BAR_MS = 38; // what an analyser holds of 48 kHz is 43 ms: nothing is missed
const WORDS_MS = 1000;
const FLOOR_DB = -54;
const CONTRAST = 1.8; // of loud to soft in the picture

/**
 * @param {number} peak  0 to 1.
 * @returns {number} 0 to 1, as loud as it sounds.
 */
export function loudness(peak) {
  return peak <= 0 ? 0 : Math.min(1, Math.max(0, 1 - (20 * Math.log10(peak)) / FLOOR_DB));
}

/** @param {number} level */
export function levelWord(level) {
  if (level < 0.12) return 'silent';
  return level < 0.45 ? 'quiet' : level < 0.93 ? 'clear' : 'very loud';
}

/** A bar and a word for one side. */
class Meter {
  #element;
  #hold = 0;
  #told = 0;

  /** @param {string} id */
  constructor(id) {
    this.#element = byId(id, HTMLElement);
  }

  /** @param {number} peak */
  show(peak) {
    this.#hold = Math.max(loudness(peak), this.#hold - 0.12);
    this.#tell();
  }

  reset() {
    this.#hold = 0;
    this.#told = 0;
    this.#tell();
  }

  #tell() {
    this.#element.style.setProperty('--level', this.#hold.toFixed(3));
    const now = performance.now();
    if (now - this.#told < WORDS_MS) return;
    this.#told = now;
    this.#element.setAttribute('aria-valuenow', String(Math.round(this.#hold * 100)));
    this.#element.setAttribute('aria-valuetext', levelWord(this.#hold));
  }
}

export class Waves {
  #canvas = byId('waves', HTMLCanvasElement);
  #still = matchMedia('(prefers-reduced-motion: reduce)');
  #you = new Meter('level-you');
  #moshi = new Meter('level-moshi');
  /**
   * A ring.
   * @type {{you: number, moshi: number}[]}
   */
  #bars = [];
  #next = 0;
  #colors = {you: '', moshi: '', line: ''};
  #samples = new Float32Array(2048);
  #last = 0;
  /** @type {{you: AnalyserNode, moshi: AnalyserNode} | null} */
  #sides = null;
  #frame = 0;

  constructor() {
    new ResizeObserver(() => this.#fit()).observe(this.#canvas);
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.#fit());
    this.#fit();
  }

  /**
   * Draws them from now on; null: no one. The browser asks for no frames while the page is hidden.
   * @param {{you: AnalyserNode, moshi: AnalyserNode} | null} sides
   */
  follow(sides) {
    this.#sides = sides;
    cancelAnimationFrame(this.#frame);
    if (sides) this.#frame = requestAnimationFrame((now) => this.#step(now));
  }

  /** @param {number} now */
  #step(now) {
    if (!this.#sides) return;
    this.#frame = requestAnimationFrame((then) => this.#step(then));
    if (now - this.#last < BAR_MS) return;
    this.#last = now;
    this.#bars[this.#next] = {you: this.#peak(this.#sides.you), moshi: this.#peak(this.#sides.moshi)};
    this.#next = (this.#next + 1) % this.#bars.length;
    this.#draw();
  }

  /** @param {{you: {peak: number}, moshi: {peak: number}}} levels */
  showLevels(levels) {
    if (document.hidden) return;
    this.#you.show(levels.you.peak);
    this.#moshi.show(levels.moshi.peak);
  }

  /** No one speaks any more. */
  rest() {
    this.#you.reset();
    this.#moshi.reset();
  }

  /** @param {AnalyserNode} side */
  #peak(side) {
    const samples = this.#samples.subarray(0, Math.min(side.fftSize, this.#samples.length));
    side.getFloatTimeDomainData(samples);
    let peak = 0;
    for (const sample of samples) peak = Math.max(peak, Math.abs(sample));
    return loudness(peak);
  }

  #fit() {
    const {clientWidth, clientHeight} = this.#canvas;
    const scale = Math.min(2, devicePixelRatio || 1);
    this.#canvas.width = Math.round(clientWidth * scale);
    this.#canvas.height = Math.round(clientHeight * scale);
    const style = getComputedStyle(this.#canvas);
    const color = (/** @type {string} */ name) => style.getPropertyValue(name).trim();
    this.#colors = {you: color('--you'), moshi: color('--moshi'), line: color('--line')};
    const count = Math.max(1, Math.floor(clientWidth / STEP_PX));
    if (count !== this.#bars.length) {
      const kept = [...this.#bars.slice(this.#next), ...this.#bars.slice(0, this.#next)].slice(-count);
      const empty = Array.from({length: count - kept.length}, () => ({you: 0, moshi: 0}));
      this.#bars = [...empty, ...kept];
      this.#next = 0;
    }
    this.#draw();
  }

  #draw() {
    const context = this.#canvas.getContext('2d');
    if (!context) return;
    const {width, height} = this.#canvas;
    const scale = width / Math.max(1, this.#canvas.clientWidth);
    context.clearRect(0, 0, width, height);
    context.fillStyle = this.#colors.line;
    context.fillRect(0, Math.round(height / 2), width, Math.max(1, Math.round(scale)));
    this.#drawSide(context, 'you', height * 0.25, scale);
    this.#drawSide(context, 'moshi', height * 0.75, scale);
    if (this.#still.matches) context.clearRect(this.#next * STEP_PX * scale, 0, 2 * STEP_PX * scale, height);
  }

  /**
   * @param {CanvasRenderingContext2D} context
   * @param {'you' | 'moshi'} side
   * @param {number} middle
   * @param {number} scale
   */
  #drawSide(context, side, middle, scale) {
    const [width, most] = [BAR_PX * scale, this.#canvas.height * 0.42];
    context.strokeStyle = this.#colors[side];
    context.lineWidth = width;
    context.lineCap = 'round';
    context.beginPath();
    for (let place = 0; place < this.#bars.length; ++place) {
      const index = this.#still.matches ? place : (this.#next + place) % this.#bars.length;
      const half = Math.max(0.01, (this.#bars[index][side] ** CONTRAST * most - width) / 2);
      const x = place * STEP_PX * scale + width / 2;
      context.moveTo(x, middle - half);
      context.lineTo(x, middle + half);
    }
    context.stroke();
  }
}
