// SPDX-License-Identifier: MIT
// @ts-check
// The model's text as people read it: pieces in, lines with times out.

/** So long a pause begins a new line. */
const PAUSE_S = 1.5;

/** @typedef {import('./conversation.js').Text} Text */

/** A line for each utterance, with the time of its first piece: hours of it are small. */
export class Lines {
  /** @type {Text[]} */
  #lines = [];
  #last = -Infinity;

  /** @param {Text} piece */
  add({text, time}) {
    if (time - this.#last > PAUSE_S) this.#lines.push({text: '', time});
    this.#lines[this.#lines.length - 1].text += text;
    this.#last = time;
  }

  transcript() {
    return this.#lines.map(({text, time}) => text.trim() && `[${timeOf(time)}] ${text.trim()}\n`).join('');
  }
}

/**
 * `1:02:03.4`, or `02:03.4` in the first hour.
 * @param {number} seconds
 */
export function timeOf(seconds) {
  const tenths = Math.max(0, Math.round(seconds * 10));
  const hours = Math.floor(tenths / 36000);
  const minutes = String(Math.floor(tenths / 600) % 60).padStart(2, '0');
  const rest = String(Math.floor(tenths / 10) % 60).padStart(2, '0');
  return `${hours > 0 ? `${hours}:` : ''}${minutes}:${rest}.${tenths % 10}`;
}
