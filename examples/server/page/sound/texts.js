// SPDX-License-Identifier: MIT
// @ts-check
// The model's text as people read it: pieces in, lines with times out.

/** So long a pause begins a new line. */
const PAUSE_S = 1.5;

/** @typedef {import('./conversation.js').Text} Text */

/** @param {Text[]} texts @returns {Text[]} A line for each utterance, with the time of its first piece. */
export function linesOf(texts) {
  /** @type {Text[]} */
  const lines = [];
  let last = -Infinity;
  for (const {text, time} of texts) {
    if (lines.length === 0 || time - last > PAUSE_S) lines.push({text: '', time});
    lines[lines.length - 1].text += text;
    last = time;
  }
  return lines.map((line) => ({text: line.text.trim(), time: line.time})).filter((line) => line.text !== '');
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

/** @param {Text[]} texts */
export function transcriptOf(texts) {
  return linesOf(texts).map((line) => `[${timeOf(line.time)}] ${line.text}\n`).join('');
}
