// SPDX-License-Identifier: MIT
// The page's parts that need no page: settings out of anything, what the server says of itself, states in words.
import assert from 'node:assert/strict';
import test from 'node:test';

import {clock} from '../../examples/server/page/ui/elements.js';
import {isParrot, readInfo, sentenceOf} from '../../examples/server/page/ui/info.js';
import {checked, forConversation, problemOf, RULES, standard} from '../../examples/server/page/ui/settings.js';
import {levelWord, loudness} from '../../examples/server/page/ui/waves.js';
import {wordsOf} from '../../examples/server/page/ui/words.js';

test('the defaults are allowed', () => {
  for (const [name, value] of Object.entries(standard())) assert.equal(problemOf(RULES[name], value), '', name);
});

test('kept settings are taken where they can be, one by one', () => {
  const kept = JSON.parse('{"seed": 17, "listen": "nobody", "mostLagMs": 1e9, "autoGainControl": false, "x": 1, ' +
    '"__proto__": {"seed": 1}, "textTopk": 2.5, "textTemperature": 0.1, "speaker": 3, "encoding": "pcm"}');
  const wanted = {...standard(), seed: 17, autoGainControl: false, textTemperature: 0.1, encoding: 'pcm'};
  assert.deepEqual(checked(kept), wanted);
  for (const nothing of [null, undefined, 3, 'text', [], [1]]) assert.deepEqual(checked(nothing), standard());
});

test('numbers that cannot be are said so', () => {
  assert.match(problemOf(RULES.textTemperature, Number('hot')), /not a number/);
  assert.match(problemOf(RULES.textTemperature, -0.1), /From 0 to 100/);
  assert.match(problemOf(RULES.audioTopk, 2.5), /whole/);
  assert.match(problemOf(RULES.mostLagMs, null), /needed/);
  assert.equal(problemOf(RULES.seed, null), '');
  assert.notEqual(problemOf(RULES.seed, 2 ** 53), '');
});

test('only what the user set is asked of the server', () => {
  const settings = forConversation({...standard(), seed: 0, audioTemperature: 0}, '');
  const asked = Object.entries(settings.sampling ?? {}).filter(([, value]) => value !== undefined);
  assert.deepEqual(Object.fromEntries(asked), {seed: 0, audioTemperature: 0});
  assert.equal(settings.token, undefined);
  assert.equal(settings.microphone, undefined);
});

test('what a server says is read, whatever is missing', () => {
  for (const nothing of [null, [], 'text', {}, {model: null, sessions: 3, defaults: [1]}]) {
    const info = readInfo(nothing);
    assert.equal(info.sessions, null);
    assert.equal(isParrot(info), false);
    assert.match(sentenceOf(info), /without a name/);
  }
  const info = readInfo({model: {name: 'embedded'}, defaults: {text_topk: 25, audio_topk: 'x'}, sessions: {places: 2}});
  assert.match(sentenceOf(info), /parrot.*two seconds/);
  assert.deepEqual(info.sessions, {talking: 0, waiting: 0, places: 2, queue: 0});
  assert.equal(info.defaults.text_topk, 25);
  assert.equal(info.defaults.audio_topk, undefined);
  assert.match(sentenceOf(readInfo({model: {name: 'stt', speaks: false}})), /stt.*does not speak/);
});

test('every state has words', () => {
  const states = [
    {name: 'idle'}, {name: 'asking'}, {name: 'connecting'}, {name: 'waiting', place: 2, length: 5}, {name: 'talking'},
    {name: 'reconnecting', reason: 'Lost.', attempt: 1, inMs: 3000},
    {name: 'ended', reason: 'full', title: 'Full', advice: 'Later.'}, {name: 'ended', reason: 'you', title: 'End', advice: ''},
  ];
  const all = states.map((state) => wordsOf(state));
  for (const words of all) assert.ok(words.word && words.button && typeof words.active === 'boolean');
  assert.equal(all[3].word, 'Waiting: place 2 of 5');
  assert.deepEqual(all.map((words) => words.active), [false, true, true, true, true, true, false, false]);
  assert.deepEqual(all.slice(-2).map((words) => words.mood), ['bad', 'calm']);
});

test('times and levels', () => {
  assert.deepEqual([-1, 0, 65.9, 3605].map(clock), ['0:00', '0:00', '1:05', '1:00:05']);
  assert.deepEqual([0, 1e-9, 1, 2].map(loudness), [0, 0, 1, 1]);
  assert.deepEqual([0, 0.3, 0.7, 1].map(levelWord), ['silent', 'quiet', 'clear', 'very loud']);
});
