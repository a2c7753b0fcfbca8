// SPDX-License-Identifier: MIT
import assert from 'node:assert/strict';
import test from 'node:test';

import {JitterBuffer, SilenceLevel} from '../../examples/server/page/sound/jitter_buffer.js';

const RATE = 48000;
const QUANTUM = 128;
const FRAME = 3840;  // 80 ms
const FRAME_S = FRAME / RATE;

/** @param {number} seconds @param {number} [level] @param {number} [from] s */
const tone = (seconds, level = 0.5, from = 0) => Float32Array.from(
  {length: Math.round(seconds * RATE)}, (_, n) => level * Math.cos(2 * Math.PI * 300 * (n / RATE + from)));

/**
 * Plays for some seconds while frames arrive.
 * @param {JitterBuffer} buffer
 * @param {{at: number, samples: Float32Array}[]} arrivals In order.
 * @param {number} seconds
 */
function play(buffer, arrivals, seconds) {
  const output = new Float32Array(Math.floor(seconds * RATE / QUANTUM) * QUANTUM);
  const waiting = [...arrivals];
  let most = 0;
  for (let at = 0; at < output.length; at += QUANTUM) {
    const now = at / RATE;
    while (waiting.length > 0 && waiting[0].at <= now) {
      buffer.push(waiting[0].samples, now);
      waiting.shift();
      most = Math.max(most, buffer.report().bufferedMs);
    }
    buffer.pull(output.subarray(at, at + QUANTUM), now);
  }
  return {output, most};
}

/** @param {number} count @param {(n: number) => number} [late] s @param {(n: number) => number} [level] */
const frames = (count, late = () => 0, level = () => 0.5) => Array.from({length: count}, (_, n) => (
  {at: n * FRAME_S + late(n), samples: tone(FRAME_S, level(n), n * FRAME_S)}));

/** The largest step between two samples: a 300 Hz tone of 0.5 has 0.02. @param {Float32Array} output */
const largestStep = (output) => output.reduce(
  (most, sample, n) => n > 0 ? Math.max(most, Math.abs(sample - output[n - 1])) : most, 0);

/** @param {Float32Array} output */
const firstSound = (output) => output.findIndex((sample) => Math.abs(sample) > 1e-6) / RATE;

test('even arrivals: it begins after a small fill, and plays everything', () => {
  const buffer = new JitterBuffer(RATE);
  const {output, most} = play(buffer, frames(50), 5);
  const begin = firstSound(output);
  assert.ok(begin > 0.03 && begin < 0.06, `begins at ${begin} s`);
  const at = Math.round(begin * RATE);
  const played = output.subarray(at + 480, at + 49 * FRAME);
  const sent = tone(4.2);
  const shift = [...Array(4).keys()].find((n) => Math.abs(played[0] - sent[480 + n - 1]) < 1e-3);
  assert.notEqual(shift, undefined, 'what is played is what was sent');
  assert.ok(most <= 130, `${most} ms at most`);
  const report = buffer.report();
  assert.equal(report.droppedMs, 0);
  assert.equal(report.underruns, 1, 'only at the end');
});

test('little jitter: the next stream begins sooner', () => {
  const buffer = new JitterBuffer(RATE);
  play(buffer, frames(50), 4);
  assert.ok(buffer.report().targetMs < 25, `${buffer.report().targetMs} ms`);
});

test('jitter raises what is kept in hand, and after that nothing runs dry', () => {
  const buffer = new JitterBuffer(RATE);
  const late = (/** @type {number} */ n) => [0, 0.06, 0.01, 0.03, 0.05][n % 5];
  const arrivals = frames(200, late);
  play(buffer, arrivals.slice(0, 100), 100 * FRAME_S);
  const before = buffer.report();
  assert.ok(before.targetMs > 55 && before.targetMs < 90, `${before.targetMs} ms`);
  assert.ok(before.underruns <= 3, `${before.underruns} while it learned`);
  play(buffer, arrivals.slice(100, 199).map(({at, samples}) => ({at: at - 100 * FRAME_S, samples})), 98 * FRAME_S);
  assert.equal(buffer.report().underruns, before.underruns);
});

test('it never holds more than its bound, whatever comes', () => {
  for (const limit of [120, 200, 400]) {
    const buffer = new JitterBuffer(RATE, limit);
    const burst = Array.from({length: 60}, (_, n) => ({at: 0.5, samples: tone(FRAME_S, 0.5, n * FRAME_S)}));
    const {most, output} = play(buffer, [...burst, {at: 1, samples: tone(10)}], 2);
    assert.ok(most <= limit + 0.1, `${most} of ${limit} ms`);
    const report = buffer.report();
    assert.ok(report.droppedMs + report.skippedSilenceMs > 10000);
    assert.ok(largestStep(output) < 0.1, `a step of ${largestStep(output)}`);
  }
});

test('a clock that runs faster than ours does not let it grow', () => {
  const buffer = new JitterBuffer(RATE);
  const fast = frames(250, (n) => -0.02 * n * FRAME_S);
  const {most, output} = play(buffer, fast, 19);
  assert.ok(most <= 200.1);
  assert.ok(largestStep(output) < 0.06, `a step of ${largestStep(output)}`);
  const report = buffer.report();
  assert.ok(report.droppedMs > 100 && report.droppedMs < 500, `${report.droppedMs} ms`);
  assert.equal(report.underruns, 0);
});

test('when more waits than may, silence goes first', () => {
  const buffer = new JitterBuffer(RATE);
  const speech = frames(10);
  play(buffer, speech, 10 * FRAME_S);
  const dropped = buffer.report().droppedMs;
  const sound = new Float32Array([...tone(0.06), ...new Float32Array(0.11 * RATE), ...tone(0.06)]);
  buffer.push(sound, 10 * FRAME_S);  // to the 40 ms in hand: 70 ms more than the bound allows
  const report = buffer.report();
  assert.equal(report.droppedMs, dropped, 'no sound is lost');
  assert.ok(report.skippedSilenceMs >= 65 && report.skippedSilenceMs <= 100, `${report.skippedSilenceMs} ms`);
  assert.ok(report.bufferedMs <= 200);
});

test('after a stall what is too much in hand goes while nothing is said', () => {
  const buffer = new JitterBuffer(RATE);
  const silent = (/** @type {number} */ n) => n % 20 < 10 ? 0.5 : 0;
  const stall = (/** @type {number} */ n) => n >= 20 && n < 22 ? 0.1 - (n - 20) * 0.05 : 0;
  play(buffer, frames(200, stall, silent), 200 * FRAME_S);
  const report = buffer.report();
  assert.equal(report.droppedMs, 0);
  assert.ok(report.skippedSilenceMs > 40, `${report.skippedSilenceMs} ms left out`);
  assert.ok(report.targetMs < 25);
  assert.ok(report.waitMs < 50, `${report.waitMs} ms in hand`);
});

test('noise at an even level is not taken for silence', () => {
  const level = new SilenceLevel();
  for (let n = 0; n < 1000; ++n) level.add(0.01);
  assert.ok(level.level < 0.01);
  for (let n = 0; n < 100; ++n) level.add(0.2);
  for (let n = 0; n < 100; ++n) level.add(0.002);
  assert.ok(level.level > 0.002 && level.level < 0.02, 'but what lies far below the speech is');
});

test('an underrun fades out and in, and is counted', () => {
  const buffer = new JitterBuffer(RATE);
  const arrivals = frames(10);
  arrivals.splice(5, 1);
  for (const arrival of arrivals.slice(5)) arrival.at += 0.1;
  const {output} = play(buffer, arrivals, 0.9);
  assert.equal(buffer.report().underruns, 1);
  assert.ok(largestStep(output) < 0.12, `a step of ${largestStep(output)}`);
  const quiet = output.subarray(Math.round(0.48 * RATE), Math.round(0.56 * RATE));
  assert.ok(quiet.every((sample) => sample === 0));
  assert.ok(output.subarray(Math.round(0.62 * RATE), Math.round(0.8 * RATE)).some((sample) => Math.abs(sample) > 0.4));
});

test('a bound that is lowered is kept at once', () => {
  const buffer = new JitterBuffer(RATE, 500);
  buffer.push(tone(0.45), 0);
  assert.ok(buffer.report().bufferedMs > 440);
  buffer.setLimit(150);
  assert.ok(buffer.report().bufferedMs <= 150);
  assert.equal(buffer.report().limitMs, 150);
  buffer.setLimit(1);
  assert.equal(buffer.report().limitMs, 120);
  buffer.setLimit(1e9);
  assert.equal(buffer.report().limitMs, 1000);
});

test('a new stream begins from nothing, the counts go on', () => {
  const buffer = new JitterBuffer(RATE);
  play(buffer, frames(5), 0.3);
  const underruns = buffer.report().underruns;
  buffer.reset();
  assert.equal(buffer.report().bufferedMs, 0);
  const output = new Float32Array(FRAME);
  buffer.pull(output, 0.3);
  assert.ok(largestStep(output.subarray(0, 480)) < 0.05 && output.subarray(480).every((sample) => sample === 0));
  assert.equal(buffer.report().underruns, underruns, 'the end is not an underrun');
  const {output: next} = play(buffer, frames(5).map(({at, samples}) => ({at: at + 0.1, samples})), 0.4);
  assert.ok(Math.abs(firstSound(next) - 0.14) < 0.01, `begins at ${firstSound(next)}`);
});

test('two packets that come together are one burst', () => {
  const buffer = new JitterBuffer(RATE);
  const halves = frames(50).flatMap(({at, samples}) =>
    [{at, samples: samples.subarray(0, FRAME / 2)}, {at: at + 0.004, samples: samples.subarray(FRAME / 2)}]);
  play(buffer, halves, 4);
  const report = buffer.report();
  assert.ok(report.targetMs < 25, `${report.targetMs} ms`);
  assert.equal(report.underruns, 0);
});
