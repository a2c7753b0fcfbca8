// SPDX-License-Identifier: MIT
import assert from 'node:assert/strict';
import test from 'node:test';

import {Link} from '../../examples/server/page/sound/link.js';
import {Meter} from '../../examples/server/page/sound/meter.js';
import {opusSupported} from '../../examples/server/page/sound/opus_codec.js';
import {PcmReceiver, PcmSender} from '../../examples/server/page/sound/pcm_codec.js';
import {statsOf} from '../../examples/server/page/sound/stats.js';

test('samples without a codec, both ways', () => {
  /** @type {Uint8Array[]} */
  const payloads = [];
  const sender = new PcmSender(24000, (payload, samples) => {
    payloads.push(payload());
    assert.equal(samples, payload().length / 2);
  });
  sender.write(Float32Array.of(0, 0.5, -0.5, 1.5, -1.5));
  assert.deepEqual([...payloads[0]], [0, 0, 0, 64, 0, 192, 255, 127, 0, 128]);
  /** @type {number[]} */
  const heard = [];
  const receiver = new PcmReceiver(24000, (samples) => heard.push(...samples));
  assert.equal(receiver.read(payloads[0].subarray(0, 3)), 1);
  assert.equal(receiver.read(payloads[0].subarray(3)), 4, 'cut within a sample');
  assert.deepEqual(heard, [0, 0.5, -0.5, 32767 / 32768, -1]);
});

test('samples without a codec keep time at every rate', () => {
  for (const rate of [16000, 44100, 48000]) {
    let samples = 0, heard = 0;
    const sender = new PcmSender(rate, (_, count) => (samples += count));
    for (let n = 0; n < 4; ++n) sender.write(new Float32Array(rate / 50));
    assert.equal(samples, 1920, `a frame at ${rate} Hz is there with its last block`);
    const receiver = new PcmReceiver(rate, (sound) => (heard += sound.length));
    receiver.read(new Uint8Array(2 * 1920));
    assert.equal(heard, rate * 0.08);
  }
});

/** @param {() => number} unsent */
function makeLink(unsent) {
  /** @type {Uint8Array[]} */
  const sent = [];
  let heard = 0;
  const link = new Link('pcm', 48000, {
    send: (payload) => sent.push(payload), unsent, sound: (samples) => (heard += samples.length), problem: assert.fail,
  });
  return {link, sent, heard: () => heard};
}

test('both ways of a connection, and what they count', () => {
  const {link, sent, heard} = makeLink(() => 0);
  for (let n = 0; n < 8; ++n) link.write(new Float32Array(960));  // two frames
  assert.equal(sent.reduce((sum, payload) => sum + payload.length, 0), 2 * 2 * 1920);
  link.read(new Uint8Array(2 * 1920));
  assert.equal(heard(), 3840);
  assert.deepEqual([link.delays.sentFrames, link.delays.receivedFrames, link.droppedFrames], [2, 1, 0]);
  assert.ok((link.delays.figures?.last ?? -1) >= 0);
  link.close();
});

test('what the network does not take is left out, not piled up', () => {
  let unsent = 0;
  const {link, sent} = makeLink(() => unsent);
  link.write(new Float32Array(4800));
  unsent = 24000;  // half a second of samples
  assert.equal(link.unsentMs, 500);
  link.write(new Float32Array(4800));
  assert.equal(sent.length, 2);
  unsent = 2 * 24000 + 2;
  for (let n = 0; n < 8; ++n) link.write(new Float32Array(960));
  assert.equal(sent.length, 2);
  assert.equal(link.droppedFrames, 2);
  unsent = 0;
  link.write(new Float32Array(960));
  assert.equal(sent.length, 3, 'it goes on when there is room');
});

test('the figures add up', () => {
  const {link} = makeLink(() => 0);
  for (let n = 0; n < 8; ++n) link.write(new Float32Array(960));
  const card = {captureLatency: 0.01, outputLatency: null};
  const buffer = {
    bufferedMs: 90, targetMs: 20, waitMs: 30, limitMs: 200, skippedSilenceMs: 1, droppedMs: 2, underruns: 3,
    playing: true,
  };
  assert.equal(statsOf('pcm', card, link, buffer, null, 5).mouthToEarMs, null, 'no answer yet');
  link.read(new Uint8Array(2 * 1920));
  const stats = statsOf('opus', card, link, buffer, {frames_in: 2, frames_out: 1, dropped_frames: 4, lag_ms: 0}, 5);
  assert.equal(stats.mouthToEarMs, 80 + 13 + stats.answerMs.p50 + 30 + 10);
  assert.deepEqual([stats.captureMs, stats.outputMs, stats.droppedFrames, stats.mostLagMs], [10, null, 4, 200]);
});

test('levels are of what came since they were last asked for', () => {
  const meter = new Meter();
  assert.deepEqual(meter.take(), {rms: 0, peak: 0});
  meter.add(Float32Array.of(0.5, -0.5));
  meter.add(Float32Array.of(0.5, -0.5));
  assert.deepEqual(meter.take(), {rms: 0.5, peak: 0.5});
  assert.deepEqual(meter.take(), {rms: 0, peak: 0});
});

test('without WebCodecs there is no Opus', async () => {
  assert.equal(await opusSupported(), false);
});
