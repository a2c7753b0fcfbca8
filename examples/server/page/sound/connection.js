// SPDX-License-Identifier: MIT
// @ts-check
// The WebSocket of a conversation: opens it, again after it was lost, and says why it cannot be.
import {KIND, closeOf, makeMessage, parseMessage, parseMetadata, textOf} from './protocol.js';

/**
 * @typedef {object} Times ms
 * @property {number} silence Without any message, the connection is lost.
 * @property {number} ping After so long without sending, the next message is answered with a sign of life.
 * @property {number} tick How often silence is looked for.
 * @property {number[]} waits Before each attempt to connect again; then the last one.
 * @property {number} settled After so long a conversation, the next loss begins with the first wait.
 * @property {number} giveUp After so long without a server that answers, nothing is tried any more.
 */

/** @type {Times} */
const TIMES = {
  silence: 10000, ping: 4000, tick: 1000, waits: [300, 700, 1500, 3000], settled: 10000, giveUp: 300000,
};

/** @typedef {import('./conversation.js').Ended} Ended */

/**
 * @typedef {object} Events
 * @property {() => void} connecting
 * @property {(place: number, length: number) => void} waiting
 * @property {() => void} begun The handshake has come.
 * @property {(payload: Uint8Array) => void} audio
 * @property {(text: string) => void} text
 * @property {(facts: import('./protocol.js').ServerFacts) => void} facts
 * @property {(stats: import('./protocol.js').ServerStats) => void} stats
 * @property {(reason: string, attempt: number, inMs: number) => void} lost
 * @property {(reason: Ended['reason'], title: string, advice: string) => void} ended
 */

/**
 * Why there is no connection, and whether to try again. `there`: the server answers, it only cannot talk now.
 * @typedef {{again: true, reason: string, there?: boolean} |
 *     {again: false, reason: Ended['reason'], title: string, advice: string}} Answer
 */

export class Connection {
  #address;
  #explain;
  #events;
  #times;
  /** @type {WebSocket | null} */
  #socket = null;
  #done = false;
  #talking = false;
  #attempt = 0;
  #sentence = '';
  #lastReceived = 0;
  #lastSent = 0;
  /**
   * When it was noticed that the server does not answer; null: it did, of late. Not when it last said something: a
   * computer that slept for hours has tried nothing yet.
   * @type {number | null}
   */
  #awaySince = null;
  #begun = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #retry;
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #ticking;
  /** The network is back: does not wait any longer. */
  #online = () => {
    if (!this.#socket) this.#connect();
  };

  /**
   * @param {string} address
   * @param {() => Promise<Answer>} explain Finds out why the socket did not even open.
   * @param {Events} events
   * @param {Partial<Times>} [times]
   */
  constructor(address, explain, events, times) {
    this.#address = address;
    this.#explain = explain;
    this.#events = events;
    this.#times = {...TIMES, ...times};
  }

  /** Bytes that wait for the network. */
  get unsent() {
    return this.#socket?.bufferedAmount ?? 0;
  }

  start() {
    globalThis.addEventListener?.('online', this.#online);
    this.#ticking = setInterval(() => this.#tick(), this.#times.tick);
    this.#connect();
  }

  /** No event comes after it. */
  close() {
    this.#done = true;
    globalThis.removeEventListener?.('online', this.#online);
    clearInterval(this.#ticking);
    clearTimeout(this.#retry);
    this.#leave(1000);
  }

  /**
   * Nothing before the handshake: the server would not hear it.
   * @param {Uint8Array} payload
   */
  sendAudio(payload) {
    if (this.#talking) this.#send(KIND.audio, payload);
  }

  /** @param {number} kind @param {Uint8Array} [payload] */
  #send(kind, payload) {
    if (this.#socket?.readyState !== WebSocket.OPEN) return;
    this.#lastSent = performance.now();
    this.#socket.send(makeMessage(kind, payload));
  }

  #connect() {
    clearTimeout(this.#retry);
    this.#events.connecting();
    if (this.#done) return;
    this.#sentence = '';
    this.#lastReceived = this.#lastSent = performance.now();
    const socket = new WebSocket(this.#address);
    this.#socket = socket;
    let opened = false;
    socket.binaryType = 'arraybuffer';
    socket.onopen = () => (opened = true);
    socket.onmessage = (event) => this.#take(event.data);
    socket.onclose = (event) => {
      this.#leave(0);
      if (opened) {
        this.#closed(closeOf(event.code, this.#sentence));
      } else {
        this.#unopened();
      }
    };
  }

  async #unopened() {
    const answer = await this.#explain();
    if (!this.#done && !this.#socket) this.#closed(answer);
  }

  /** @param {unknown} data */
  #take(data) {
    this.#lastReceived = performance.now();
    this.#awaySince = null;
    // here and not by the clock, which browsers let run once a minute in hidden tabs
    if (this.#lastReceived - this.#lastSent > this.#times.ping) this.#send(KIND.ping);
    const message = parseMessage(data);
    if (!message) return;
    switch (message.kind) {
      case KIND.handshake:
        this.#talking = true;
        this.#begun = this.#lastReceived;
        this.#events.begun();
        break;
      case KIND.audio:
        if (this.#talking) this.#events.audio(message.payload);
        break;
      case KIND.text:
        if (this.#talking) this.#events.text(textOf(message.payload));
        break;
      case KIND.metadata:
        this.#takeMetadata(message.payload);
        break;
      case KIND.error:
        this.#sentence = textOf(message.payload);
        break;
    }
  }

  /** @param {Uint8Array} payload */
  #takeMetadata(payload) {
    const metadata = parseMetadata(payload);
    if (!metadata) return;
    if ('queue' in metadata) {
      this.#events.waiting(metadata.queue.place, metadata.queue.length);
    } else if ('stats' in metadata) {
      this.#events.stats(metadata.stats);
    } else {
      this.#events.facts(metadata.facts);
    }
  }

  /** @param {Answer} answer */
  #closed(answer) {
    if (this.#done) return;
    if (!answer.again) {
      this.close();
      this.#events.ended(answer.reason, answer.title, answer.advice);
      return;
    }
    const now = performance.now();
    this.#awaySince = answer.there ? null : this.#awaySince ?? now;
    if (this.#awaySince !== null && now - this.#awaySince > this.#times.giveUp) {
      this.close();
      this.#events.ended('lost', 'The server cannot be reached', answer.reason);
      return;
    }
    const waits = this.#times.waits;
    const wait = waits[Math.min(this.#attempt, waits.length - 1)];
    ++this.#attempt;
    this.#events.lost(answer.reason, this.#attempt, wait);
    if (this.#done) return;
    clearTimeout(this.#retry); // of another attempt whose reason was asked for, too
    this.#retry = setTimeout(() => this.#connect(), wait);
  }

  #tick() {
    if (!this.#socket) return;
    const now = performance.now();
    if (this.#talking && now - this.#begun > this.#times.settled) this.#attempt = 0;
    if (now - this.#lastReceived > this.#times.silence) {
      this.#leave(1000);
      this.#closed({again: true, reason: 'Nothing was heard of the server any more.'});
    }
  }

  /**
   * Lets go of the socket.
   * @param {number} code 0: it is closed already.
   */
  #leave(code) {
    const socket = this.#socket;
    this.#socket = null;
    this.#talking = false;
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    if (code !== 0) socket.close(code);
  }
}
