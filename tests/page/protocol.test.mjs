// SPDX-License-Identifier: MIT
import assert from 'node:assert/strict';
import test from 'node:test';

import {AnswerDelays} from '../../examples/server/page/sound/answer_delays.js';
import {
  KIND, chatAddress, closeOf, makeMessage, parseMessage, parseMetadata, serverAddress, textOf,
} from '../../examples/server/page/sound/protocol.js';
import {explainHealth, explainStatus, explainUnopened} from '../../examples/server/page/sound/reach.js';

/** @param {string} text */
const bytes = (text) => new TextEncoder().encode(text);

/** @param {number[]} data */
const buffer = (...data) => Uint8Array.from(data).buffer;

test('messages', () => {
  assert.deepEqual(makeMessage(KIND.ping), Uint8Array.of(6));
  assert.deepEqual(makeMessage(KIND.audio, Uint8Array.of(7, 8)), Uint8Array.of(1, 7, 8));
  assert.deepEqual(parseMessage(buffer(0)), {kind: 0, payload: new Uint8Array(0)});
  assert.deepEqual(parseMessage(buffer(1, 2, 3)), {kind: 1, payload: Uint8Array.of(2, 3)});
  for (const discarded of [buffer(), buffer(7), buffer(255, 1), 'text', null]) {
    assert.equal(parseMessage(discarded), null);
  }
  assert.equal(textOf(bytes(' grün')), ' grün');
});

test('metadata', () => {
  assert.deepEqual(parseMetadata(bytes('{"queue": {"place": 2, "length": 5}}')), {queue: {place: 2, length: 5}});
  const stats = {frames_in: 8, frames_out: 7, dropped_frames: 0, lag_ms: 35, frame_delay_ms: {p50: 9, p99: 21}};
  assert.deepEqual(parseMetadata(bytes(JSON.stringify({stats}))), {stats});
  assert.deepEqual(parseMetadata(bytes('{"seed": 17}')), {facts: {seed: 17}});
  for (const broken of ['', '{', '[]', '3', 'null', '{"queue": 3}', '{"queue": {"place": "2", "length": 5}}',
    '{"stats": {}}', '{"stats": null}']) {
    assert.equal(parseMetadata(bytes(broken)), null, broken);
  }
});

test('addresses', () => {
  assert.equal(chatAddress('http://localhost:8998/', {}, 'opus'), 'ws://localhost:8998/api/chat?metadata=1&stats=1');
  const address = new URL(chatAddress('https://example.org/moshi?x#y', {
    token: 'a b&c', listen: 'text', maxSteps: 100, sampling: {seed: 0, textTemperature: 0.5, textTopk: 25,
      audioTemperature: 0, audioTopk: 250},
  }, 'pcm'));
  assert.equal(address.origin + address.pathname, 'wss://example.org/moshi/api/chat');
  assert.deepEqual(Object.fromEntries(address.searchParams), {
    text_temperature: '0.5', text_topk: '25', audio_temperature: '0', audio_topk: '250', seed: '0', listen: 'text',
    max_steps: '100', audio: 'pcm', metadata: '1', stats: '1', token: 'a b&c',
  });
  assert.equal(serverAddress('https://example.org/moshi/', 'api/info'), 'https://example.org/moshi/api/info');
});

test('closes: what was refused is not asked for again', () => {
  for (const code of [1001, 1006, 1012, 4000]) assert.equal(closeOf(code, '').again, true, `${code}`);
  for (const code of [1000, 1003, 1008, 1009, 1011, 1013]) assert.equal(closeOf(code, 'Why.').again, false, `${code}`);
  const full = closeOf(1013, 'All 2 places are taken.');
  assert.ok(!full.again && full.reason === 'full' && full.advice === 'All 2 places are taken.');
});

test('why a socket did not open', async () => {
  const wanted = explainStatus(401, ''), wrong = explainStatus(401, 'x');
  assert.ok(!wanted.again && !wrong.again && wanted.reason === 'token' && wanted.title !== wrong.title);
  assert.match(explainStatus(502, '').reason, /502/);
  assert.ok(explainHealth('loading').there && !explainHealth('stopping').there);
  const reasons = ['loading', 'stopping', 'full', 'ok'].map((status) => explainHealth(status));
  assert.ok(reasons.every((answer) => answer.again));
  assert.equal(new Set(reasons.map((answer) => answer.reason)).size, 4);
});

test('asking the server why', async () => {
  /** @type {string[]} */
  const asked = [];
  globalThis.fetch = async (address, how) => {
    asked.push(`${address} ${how.headers?.Authorization ?? ''}`);
    if (address.endsWith('/health')) return {json: async () => ({status: 'loading'})};
    if (how.headers?.Authorization === 'Bearer wrong') return {ok: false, status: 401};
    if (address.includes('nobody')) throw new TypeError('Failed to fetch');
    if (address.includes('loading')) return {ok: false, status: 503};
    return {ok: true, status: 200};
  };
  assert.match((await explainUnopened('http://server/', '')).reason, /loading/);
  assert.equal((await explainUnopened('http://server/', 'wrong')).reason, 'token');
  assert.match((await explainUnopened('http://nobody/', '')).reason, /does not answer/);
  assert.match((await explainUnopened('http://loading/', '')).reason, /loading/);
  assert.deepEqual(asked, ['http://server/api/info ', 'http://server/health ', 'http://server/api/info Bearer wrong',
    'http://nobody/api/info ', 'http://loading/api/info ', 'http://loading/health ']);
});

test('answers are of the frame after the one that is not heard', () => {
  const delays = new AnswerDelays();
  assert.equal(delays.figures, null);
  for (let packet = 0; packet < 12; ++packet) delays.sent(480, packet * 20);  // three frames, complete at 60, 140, 220
  assert.equal(delays.sentFrames, 3);
  delays.received(960, 145);
  assert.equal(delays.figures, null, 'half an answer');
  delays.received(960, 150);
  delays.received(1920, 250);
  assert.equal(delays.receivedFrames, 2);
  assert.deepEqual(delays.figures, {last: 30, p50: 30, p99: 30});
});

test('what the server dropped is not waited for', () => {
  for (const packets of [12, 13, 15]) {  // whole frames and parts of them
    const delays = new AnswerDelays();
    for (let packet = 0; packet < 40; ++packet) delays.sent(480, packet * 20);
    delays.received(1920, 145);
    delays.dropped(packets * 480);
    delays.received(1920, (11 + packets) * 20 + 7);
    assert.deepEqual(delays.figures, {last: 7, p50: 7, p99: 7});
    delays.dropped(40 * 480);
    delays.received(1920, 2000);
    assert.equal(delays.figures?.last, 7, 'not sent yet: not known');
  }
});
