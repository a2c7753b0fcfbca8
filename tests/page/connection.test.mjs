// SPDX-License-Identifier: MIT
import assert from 'node:assert/strict';
import test from 'node:test';

import {Connection} from '../../examples/server/page/sound/connection.js';

const S = 1000;

/** Time passes when a test says so. */
const clock = {
  now: 0,
  last: 0,
  /** @type {Map<number, {at: number, every: number, run: () => void}>} */
  timers: new Map(),
  /** @param {() => void} run @param {number} ms @param {number} every */
  add(run, ms, every) {
    this.timers.set(++this.last, {at: this.now + ms, every, run});
    return this.last;
  },
  /** @param {number} ms */
  pass(ms) {
    for (const end = this.now + ms; ;) {
      const due = [...this.timers].filter(([, timer]) => timer.at <= end);
      const [next] = due.sort(([, one], [, two]) => one.at - two.at);
      this.now = next ? next[1].at : end;
      if (!next) return;
      const [number, timer] = next;
      if (timer.every > 0) timer.at += timer.every;
      else this.timers.delete(number);
      timer.run();
    }
  },
};
globalThis.setTimeout = (run, ms) => clock.add(run, ms, 0);
globalThis.setInterval = (run, ms) => clock.add(run, ms, ms);
globalThis.clearTimeout = globalThis.clearInterval = (number) => clock.timers.delete(number);
Object.defineProperty(globalThis, 'performance', {value: {now: () => clock.now}});

/** What was promised has been done. */
const settled = () => new Promise((done) => setImmediate(done));

/** What the connection opened, in place of the browser's. */
class FakeSocket {
  static OPEN = 1;
  /** @type {FakeSocket[]} */
  static all = [];
  readyState = 0;
  bufferedAmount = 0;
  /** @type {Uint8Array[]} */
  sent = [];
  closed = 0;

  /** @param {string} address */
  constructor(address) {
    this.address = address;
    FakeSocket.all.push(this);
  }
  open() {
    this.readyState = FakeSocket.OPEN;
    this.onopen?.();
  }
  /** @param {number} kind @param {string} text */
  tell(kind, text = '') {
    this.onmessage?.({data: Uint8Array.from([kind, ...new TextEncoder().encode(text)]).buffer});
  }
  /** @param {number} code */
  drop(code) {
    this.readyState = 3;
    this.onclose?.({code});
  }
  /** @param {Uint8Array} message */
  send(message) {
    this.sent.push(message);
  }
  /** @param {number} code */
  close(code) {
    this.closed = code;
    this.readyState = 3;
  }
}
globalThis.WebSocket = FakeSocket;

/** @type {Set<() => void>} What waits for the network to be back. */
const online = new Set();
globalThis.addEventListener = (name, handle) => name === 'online' && online.add(handle);
globalThis.removeEventListener = (name, handle) => online.delete(handle);

/** @param {() => Promise<object>} [explain] */
function connect(explain = async () => ({again: true, reason: 'Nobody answers.'})) {
  FakeSocket.all = [];
  clock.timers.clear();
  online.clear();
  /** @type {unknown[][]} */
  const log = [];
  const names = ['connecting', 'waiting', 'begun', 'audio', 'text', 'facts', 'stats', 'lost', 'ended'];
  const events = Object.fromEntries(names.map((name) => [name, (...details) => log.push([name, ...details])]));
  const connection = new Connection('ws://server/api/chat', explain, events);
  connection.start();
  return {connection, log};
}

test('a conversation from beginning to end', () => {
  const {connection, log} = connect();
  const [socket] = FakeSocket.all;
  assert.equal(socket.address, 'ws://server/api/chat');
  connection.sendAudio(Uint8Array.of(9));
  socket.open();
  connection.sendAudio(Uint8Array.of(9));
  assert.deepEqual(socket.sent, [], 'nothing is sent before the handshake');
  socket.tell(4, '{"queue": {"place": 1, "length": 2}}');
  socket.tell(0);
  socket.tell(4, '{"seed": 17}');
  connection.sendAudio(Uint8Array.of(9));
  assert.deepEqual(socket.sent, [Uint8Array.of(1, 9)]);
  socket.tell(1, 'x');
  socket.tell(2, ' hello');
  socket.tell(6);
  socket.tell(99);
  socket.onmessage({data: 'text'});
  socket.tell(5, 'The time is up.');
  socket.drop(1000);
  assert.deepEqual(log, [['connecting'], ['waiting', 1, 2], ['begun'], ['facts', {seed: 17}],
    ['audio', Uint8Array.of(120)], ['text', ' hello'], ['ended', 'finished', 'The conversation is over',
      'The time is up.']]);
  assert.equal(FakeSocket.all.length, 1);
});

test('a lost connection comes back, and waits longer each time', async () => {
  const {log} = connect();
  const sockets = FakeSocket.all;
  sockets[0].open();
  sockets[0].tell(0);
  sockets[0].drop(1001);
  clock.pass(299);
  assert.equal(sockets.length, 1);
  clock.pass(1);
  sockets[1].open();
  sockets[1].drop(1006);
  clock.pass(700);
  sockets[2].drop(1006);  // did not open: the reason is asked for
  await settled();
  clock.pass(1500);
  assert.deepEqual(log.filter(([name]) => name === 'lost'),
    [['lost', 'The server stopped.', 1, 300], ['lost', 'The connection was lost.', 2, 700],
      ['lost', 'Nobody answers.', 3, 1500]]);
  sockets[3].open();
  sockets[3].tell(0);
  assert.equal(log.at(-1)[0], 'begun');
  for (let n = 0; n < 12; ++n) {
    clock.pass(S);
    sockets[3].tell(6);
  }
  sockets[3].drop(1006);
  assert.deepEqual(log.at(-1), ['lost', 'The connection was lost.', 1, 300], 'after a good while it begins anew');
});

test('refusals are final', () => {
  for (const [code, reason] of [[1003, 'refused'], [1008, 'refused'], [1011, 'failed'], [1013, 'full']]) {
    const {log} = connect();
    FakeSocket.all[0].open();
    FakeSocket.all[0].tell(5, 'The sentence.');
    FakeSocket.all[0].drop(code);
    assert.deepEqual([log.at(-1)[0], log.at(-1)[1], log.at(-1)[3]], ['ended', reason, 'The sentence.']);
    clock.pass(60 * S);
    assert.equal(FakeSocket.all.length, 1);
    assert.equal(clock.timers.size, 0);
  }
});

test('a token that is wrong ends it', async () => {
  const answer = {again: false, reason: 'token', title: 'Wrong', advice: 'Ask.'};
  const {log} = connect(async () => answer);
  FakeSocket.all[0].drop(1006);
  await settled();
  assert.deepEqual(log.at(-1), ['ended', 'token', 'Wrong', 'Ask.']);
});

test('ten seconds without a word are a lost connection', () => {
  const {log} = connect();
  const [socket] = FakeSocket.all;
  socket.open();
  socket.tell(0);
  clock.pass(9 * S);
  assert.equal(socket.closed, 0);
  clock.pass(3 * S);
  assert.equal(socket.closed, 1000);
  assert.match(String(log.find(([name]) => name === 'lost')?.[1]), /Nothing was heard/);
  assert.equal(FakeSocket.all.length, 2, 'and it has been tried again');
});

test('any message keeps it alive, and pings tell the server that we live', () => {
  const {log} = connect();
  const [socket] = FakeSocket.all;
  socket.open();
  for (let n = 0; n < 20; ++n) {
    clock.pass(3 * S);
    socket.tell(6);
  }
  assert.deepEqual(log, [['connecting']]);
  assert.ok(socket.sent.length >= 10 && socket.sent.every((message) => message.length === 1 && message[0] === 6));
  for (const [number, timer] of clock.timers) if (timer.every > 0) clock.timers.delete(number);
  const count = socket.sent.length;
  clock.pass(6 * S);
  socket.tell(6);
  assert.equal(socket.sent.length, count + 1, 'in a hidden tab, whose clock stands, too');
});

test('the network is back while reasons are asked for: one connection', async () => {
  /** @type {((answer: object) => void)[]} */
  const answers = [];
  const {connection} = connect(() => new Promise((done) => answers.push(done)));
  FakeSocket.all[0].drop(1006);
  for (const back of online) back();
  FakeSocket.all[1].drop(1006);
  for (const answer of answers) answer({again: true, reason: 'Nobody answers.'});
  await settled();
  clock.pass(5 * S);
  assert.equal(FakeSocket.all.length, 3);
  FakeSocket.all[2].open();
  for (const back of online) back();
  assert.equal(FakeSocket.all.length, 3);
  connection.close();
  assert.deepEqual([clock.timers.size, online.size], [0, 0]);
});

test('a computer that slept tries again', async () => {
  const {log} = connect();
  FakeSocket.all[0].open();
  FakeSocket.all[0].tell(0);
  clock.now += 3600 * S;
  for (const timer of clock.timers.values()) timer.at += 3600 * S;
  clock.pass(2 * S);
  assert.deepEqual(log.map(([name]) => name), ['connecting', 'begun', 'lost', 'connecting']);
  for (let n = 0; n < 20; ++n) {  // the network is not there yet
    FakeSocket.all.at(-1).drop(1006);
    await settled();
    clock.pass(5 * S);
  }
  assert.ok(!log.some(([name]) => name === 'ended'));
  FakeSocket.all.at(-1).open();
  FakeSocket.all.at(-1).tell(0);
  assert.equal(log.at(-1)[0], 'begun');
});

test('a server that says what it is waiting for is not given up', async () => {
  const {log} = connect(async () => ({again: true, there: true, reason: 'The server is still loading its model.'}));
  for (let n = 0; n < 400; ++n) {
    FakeSocket.all.at(-1).drop(1006);
    await settled();
    clock.pass(5 * S);
  }
  assert.ok(!log.some(([name]) => name === 'ended'));
});

test('it gives up at last', async () => {
  const {log} = connect();
  for (let n = 0; !log.some(([name]) => name === 'ended') && n < 1000; ++n) {
    FakeSocket.all.at(-1).drop(1006);
    await settled();
    clock.pass(5 * S);
  }
  assert.deepEqual(log.at(-1), ['ended', 'lost', 'The server cannot be reached', 'Nobody answers.']);
});

test('who waited long in the queue is not given up', () => {
  const {log} = connect();
  FakeSocket.all[0].open();
  for (let n = 0; n < 200; ++n) {
    clock.pass(3 * S);
    FakeSocket.all[0].tell(6);
  }
  FakeSocket.all[0].drop(1006);
  assert.equal(log.at(-1)[0], 'lost');
});

test('after close() nothing is told any more', () => {
  const {connection, log} = connect();
  const [socket] = FakeSocket.all;
  socket.open();
  connection.close();
  assert.deepEqual([socket.closed, socket.onmessage, clock.timers.size], [1000, null, 0]);
  connection.sendAudio(Uint8Array.of(1));
  clock.pass(60 * S);
  assert.deepEqual(log, [['connecting']]);
  assert.equal(FakeSocket.all.length, 1);
});
