// SPDX-License-Identifier: MIT
import assert from 'node:assert/strict';
import test from 'node:test';

import {Recording} from '../../examples/server/page/sound/recording.js';
import {Lines, timeOf} from '../../examples/server/page/sound/texts.js';

const RATE = 48000;

/** @param {Recording} recording */
async function read(recording) {
  const blob = recording.wav();
  assert.ok(blob);
  const data = Buffer.from(await blob.arrayBuffer());
  assert.equal(data.length, 44 + data.readUInt32LE(40));
  assert.equal(data.readUInt32LE(4), data.length - 8);
  assert.equal(data.subarray(0, 4).toString() + data.subarray(8, 16).toString(), 'RIFFWAVEfmt ');
  assert.deepEqual([20, 22, 32, 34].map((at) => data.readUInt16LE(at)), [1, 2, 4, 16]);
  assert.equal(data.readUInt32LE(24), 24000);
  const frames = (data.length - 44) / 4;
  return {
    seconds: frames / 24000,
    /** @param {number} side @param {number} seconds */
    at: (side, seconds) => data.readInt16LE(44 + 4 * Math.round(seconds * 24000) + 2 * side) / 32768,
  };
}

/** @param {number} seconds @param {number} level */
const constant = (seconds, level) => new Float32Array(Math.round(seconds * RATE)).fill(level);

/**
 * @param {Recording} recording @param {'you' | 'moshi'} side @param {number} from @param {number} to
 * @param {number} level
 */
function fill(recording, side, from, to, level) {
  for (let at = from; at < to - 1e-9; at += 0.02) recording.add(side, at, RATE, constant(0.02, level));
}

test('both sides where they were, silence between', async () => {
  const recording = new Recording(3600);
  assert.equal(recording.wav(), null);
  fill(recording, 'you', 0.1, 1, 0.25);
  fill(recording, 'moshi', 0.5, 0.7, -0.5);
  fill(recording, 'moshi', 0.9, 1.2, 0.5);
  const {seconds, at} = await read(recording);
  assert.ok(Math.abs(seconds - 1.2) < 0.01 && Math.abs(recording.seconds - seconds) < 1e-9);
  for (const [side, time, level] of [[0, 0.05, 0], [0, 0.15, 0.25], [0, 0.95, 0.25], [0, 1.1, 0], [1, 0.4, 0],
    [1, 0.6, -0.5], [1, 0.8, 0], [1, 1, 0.5]]) {
    assert.ok(Math.abs(at(side, time) - level) < 1e-3, `side ${side} at ${time} s is ${at(side, time)}`);
  }
  assert.ok(Math.abs(at(1, 0.6995) + 0.5) < 0.1, 'up to the gap');
});

test('an hour does not drift', async () => {
  // a click each minute, the blocks between left out: gaps are silence of the right length
  const recording = new Recording(3600);
  const click = constant(0.02, 0);
  click[480] = 1;
  for (let minute = 0; minute < 10; ++minute) recording.add('you', minute * 60, RATE, click);
  recording.add('moshi', 0, RATE, constant(0.02, 0));
  const {at} = await read(recording);
  for (let minute = 0; minute < 9; ++minute) assert.ok(at(0, minute * 60 + 0.01) > 0.4, `minute ${minute}`);
});

test('odd rates keep time over many blocks', async () => {
  const recording = new Recording(3600);
  const rate = 44100;
  for (let n = 0; n < 1500; ++n) {
    const block = new Float32Array(882);
    if (n % 100 === 0) block.fill(0.5);
    recording.add('you', n * 882 / rate, rate, block);
  }
  const {at, seconds} = await read(recording);
  assert.ok(Math.abs(seconds - 30) < 0.01);
  for (let n = 0; n < 1500; n += 100) {
    for (const [offset, level] of [[-0.005, 0], [0.005, 0.5], [0.015, 0.5], [0.025, 0]]) {
      if (n + offset < 0) continue;
      const sample = at(0, n * 0.02 + offset);
      assert.ok(Math.abs(sample - level) < 0.02, `block ${n} ${offset} s: ${sample}`);
    }
  }
});

test('it ends at its limit', async () => {
  const recording = new Recording(1);
  fill(recording, 'you', 0, 1.5, 0.1);
  assert.ok(recording.full);
  assert.equal(recording.seconds, 1);
  assert.equal((await read(recording)).seconds, 1);
  const nothing = new Recording(0);
  fill(nothing, 'you', 0, 0.1, 0.1);
  assert.equal(nothing.wav(), null);
});

test('louder than can be is clipped, not wrapped', async () => {
  const recording = new Recording(10);
  fill(recording, 'you', 0, 0.1, 1.5);
  fill(recording, 'moshi', 0, 0.1, -1.5);
  const {at} = await read(recording);
  assert.ok(at(0, 0.05) > 0.99 && at(1, 0.05) === -1);
});

test('text: lines, times, transcript', () => {
  const lines = new Lines();
  assert.equal(lines.transcript(), '');
  for (const [text, time] of [[' Hello', 1], [' there', 1.4], [' ', 2], [' How', 4.2], [' are you', 4.6], [' ', 9]]) {
    lines.add({text: String(text), time: Number(time)});
  }
  assert.equal(lines.transcript(), '[00:01.0] Hello there\n[00:04.2] How are you\n');
  assert.deepEqual([0, 59.96, 61.25, 3599.99, 3661].map(timeOf),
    ['00:00.0', '01:00.0', '01:01.3', '1:00:00.0', '1:01:01.0']);
});
