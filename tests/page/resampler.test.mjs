// SPDX-License-Identifier: MIT
import assert from 'node:assert/strict';
import test from 'node:test';

import {Resampler} from '../../examples/server/page/sound/resampler.js';

const PAIRS = [[48000, 24000], [24000, 48000], [44100, 48000], [48000, 44100], [44100, 24000], [24000, 44100],
  [16000, 48000], [96000, 48000], [192000, 24000], [22050, 24000]];

/** @param {number} rate @param {number} hz @param {number} seconds */
const sine = (rate, hz, seconds) =>
  Float32Array.from({length: Math.round(rate * seconds)}, (_, n) => Math.sin(2 * Math.PI * hz * n / rate));

/** @param {Resampler} resampler @param {Float32Array} input @param {number} piece */
function run(resampler, input, piece) {
  const output = [];
  for (let at = 0; at < input.length; at += piece) output.push(...resampler.process(input.subarray(at, at + piece)));
  output.push(...resampler.flush());
  return output;
}

/** Of the middle, where the stream's ends do not matter. @param {number[]} samples */
function rms(samples) {
  const middle = samples.slice(samples.length / 4, samples.length * 3 / 4);
  return Math.sqrt(middle.reduce((sum, sample) => sum + sample * sample, 0) / middle.length);
}

test('as much comes out as went in lasts, to the sample', () => {
  for (const [from, to] of PAIRS) {
    for (const length of [1, 47, 128, 882, 4800]) {
      const count = run(new Resampler(from, to), new Float32Array(length), 128).length;
      assert.equal(count, Math.ceil(length * to / from), `${from} -> ${to}, ${length}`);
    }
  }
});

test('pieces of any length give the same', () => {
  const input = sine(44100, 997, 0.1);
  const whole = run(new Resampler(44100, 48000), input, input.length);
  for (const piece of [1, 13, 128, 441]) assert.deepEqual(run(new Resampler(44100, 48000), input, piece), whole);
});

test('what is below the band is left as it is, and in time', () => {
  for (const [from, to] of PAIRS) {
    for (const hz of [100, 1000, Math.min(from, to) * 0.4]) {
      const output = run(new Resampler(from, to), sine(from, hz, 0.2), 480);
      const wanted = sine(to, hz, 0.2);
      const error = rms(output.map((sample, n) => sample - wanted[n])) / Math.SQRT1_2;
      assert.ok(error < 1e-3, `${from} -> ${to} at ${hz} Hz: ${(20 * Math.log10(error)).toFixed(1)} dB`);
    }
  }
});

test('what the lower rate cannot hold does not come back as something else', () => {
  for (const [from, to] of PAIRS.filter(([a, b]) => a > b)) {
    for (const hz of [to * 0.51, to * 0.6, to * 0.9].filter((each) => each < from / 2)) {
      const level = rms(run(new Resampler(from, to), sine(from, hz, 0.2), 480)) / Math.SQRT1_2;
      assert.ok(level < 1e-3, `${from} -> ${to} at ${hz} Hz: ${(20 * Math.log10(level)).toFixed(1)} dB`);
    }
  }
});

test('no images when the rate rises', () => {
  const output = run(new Resampler(24000, 48000), sine(24000, 10000, 0.2), 480);
  // what is left when the tone itself is taken out
  const tone = sine(48000, 10000, 0.2);
  assert.ok(rms(output.map((sample, n) => sample - tone[n])) < 1e-3);
});

test('a live stream gives as much as it takes, from the first piece on', () => {
  for (const [from, to] of PAIRS) {
    const resampler = new Resampler(from, to).prime();
    const length = from / 50;
    for (let n = 0; n < 5; ++n) assert.equal(resampler.process(new Float32Array(length)).length, to / 50);
  }
});

test('equal rates change nothing', () => {
  const input = sine(48000, 440, 0.01);
  const resampler = new Resampler(48000, 48000).prime();
  assert.equal(resampler.process(input), input);
  assert.equal(resampler.flush().length, 0);
});

test('after the end a new stream begins', () => {
  const resampler = new Resampler(44100, 24000);
  const input = sine(44100, 500, 0.05);
  const first = run(resampler, input, 100);
  assert.deepEqual(run(resampler, input, 100), first);
});
