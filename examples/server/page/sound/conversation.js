// SPDX-License-Identifier: MIT
// @ts-check
// A conversation with the server: microphone, sound card, connection, recording. Knows nothing of the page's elements.
//
//   const talk = new Conversation();
//   talk.addEventListener('state', (event) => show(event.detail));
//   button.onclick = () => talk.open({echoCancellation: true});
import {Connection} from './connection.js';
import {Link} from './link.js';
import {Meter} from './meter.js';
import {askForMicrophone} from './microphone.js';
import {opusSupported} from './opus_codec.js';
import {FRAME_SAMPLES, chatAddress} from './protocol.js';
import {explainUnopened} from './reach.js';
import {Recording} from './recording.js';
import {SoundCard, makeContext, stopStream} from './sound_card.js';
import {statsOf} from './stats.js';
import {Lines} from './texts.js';

/**
 * What a conversation is begun with; all of it optional.
 * @typedef {object} Settings
 * @property {string} [server] Address of the server's root; unset: the folder that the page came from.
 * @property {string} [token] Access token, where the server wants one.
 * @property {string} [microphone] deviceId; unset: the browser's choice.
 * @property {string} [speaker] deviceId; unset: the browser's choice. Where the browser cannot choose, it is not used.
 * @property {boolean} [echoCancellation] Default true.
 * @property {boolean} [noiseSuppression] Default true.
 * @property {boolean} [autoGainControl] Default true.
 * @property {number} [mostLagMs] Most sound that may wait to be played, default 200; 120 to 1000.
 * @property {number} [volume] 0 to 1, default 1.
 * @property {'auto' | 'opus' | 'pcm'} [encoding] Default auto: Opus where the browser has it.
 * @property {'both' | 'audio' | 'text'} [listen] What the server sends, default both.
 * @property {Sampling} [sampling] What is unset is the server's default.
 * @property {number} [maxSteps] The conversation ends after so many frames of 80 ms.
 * @property {number} [recordSeconds] Most that is recorded, default 3600; 0: nothing.
 */

/**
 * @typedef {object} Sampling
 * @property {number} [textTemperature]
 * @property {number} [textTopk]
 * @property {number} [audioTemperature]
 * @property {number} [audioTopk]
 * @property {number} [seed]
 */

/**
 * Where the conversation is. `idle` before the first open(); `ended` is final until open() is called again.
 * @typedef {{name: 'idle'} | {name: 'asking'} | {name: 'connecting'} | Waiting | {name: 'talking'} | Reconnecting |
 *     Ended} State
 */

/** @typedef {{name: 'waiting', place: number, length: number}} Waiting  In the server's queue; place 1 is next. */

/**
 * @typedef {object} Reconnecting
 * @property {'reconnecting'} name
 * @property {string} reason A sentence.
 * @property {number} attempt From 1.
 * @property {number} inMs Until the next attempt, at the time of the event; 0 when it begins.
 */

/**
 * @typedef {object} Ended
 * @property {'ended'} name
 * @property {'you' | 'microphone' | 'sound' | 'finished' | 'full' | 'refused' | 'token' | 'failed' | 'lost'} reason
 *     you: close() was called; microphone: not there or not allowed; sound: the browser cannot; finished: the time or
 *     the steps are used up; full: try again later; refused: the server says why; token: wanted or wrong; failed: the
 *     server says what; lost: no connection for too long.
 * @property {string} title What happened, for people.
 * @property {string} advice What can be done about it; may be empty.
 */

/** @typedef {{text: string, time: number}} Text  Time in seconds on the clock of the recording: when it is heard. */
/** @typedef {{rms: number, peak: number}} Level  0 to 1, of the last 100 ms. */
/** @typedef {{you: Level, moshi: Level}} Levels */
/**
 * What people should know, while the conversation goes on.
 * @typedef {object} Note
 * @property {string} title
 * @property {string} advice
 * @property {boolean} [resume] resume() would cure it.
 */
/** @typedef {import('./protocol.js').ServerFacts} ServerFacts */
/** @typedef {import('./protocol.js').ServerStats} ServerStats */

/**
 * Figures, once a second while talking. Null where it is not known (yet). Milliseconds.
 * @typedef {object} Stats
 * @property {'opus' | 'pcm'} encoding
 * @property {{last: number, p50: number, p99: number} | null} answerMs From sending the last packet of a frame to the
 *     arrival of its answer: network and computing, of the last 512 frames.
 * @property {number} bufferedMs Sound that waits to be played now.
 * @property {number} targetMs What the buffer keeps in hand against the measured jitter.
 * @property {number} mostLagMs The bound on bufferedMs.
 * @property {number} skippedSilenceMs Left out while nothing was to be heard, since the beginning.
 * @property {number} droppedMs Sound left out to stay under the bound, since the beginning.
 * @property {number} underruns Times when nothing was there to be played, since the beginning.
 * @property {number | null} captureMs From the microphone to the page.
 * @property {number | null} outputMs From the page to the ear.
 * @property {number | null} mouthToEarMs Estimate: how long a sound takes from the mouth through the server to the ear;
 *     what a model waits for before it answers comes on top.
 * @property {number} sentFrames Since the connection was made.
 * @property {number} receivedFrames Since the connection was made.
 * @property {number} unsentMs Sound that waits in the browser for the network.
 * @property {number} droppedFrames By the server, and by the page when the network does not take them; of sentFrames.
 * @property {ServerStats | null} server As the server tells them.
 * @property {number} recordedSeconds
 */

const STATS_MS = 1000;
/** Between what two open() recorded. */
const GAP_S = 0.1;

/**
 * Events, all CustomEvents with these details: `state` (State), `text` (Text), `levels` (Levels, 10 times a second),
 * `stats` (Stats), `server` (ServerFacts, when a conversation has begun), `note` (Note; null: the last one is over).
 */
export class Conversation extends EventTarget {
  /** @type {State} */
  state = {name: 'idle'};
  muted = false;
  /**
   * For pictures of both sides; null before the microphone is open, and after the end. They are new in each open().
   * @type {{you: AnalyserNode, moshi: AnalyserNode} | null}
   */
  analysers = null;

  /** @type {Settings} */
  #settings = {};
  /** Tells an open() that waits for something that it was ended, or another one begun. */
  #generation = 0;
  /** @type {SoundCard | null} */
  #card = null;
  /** @type {Connection | null} */
  #connection = null;
  /** @type {Link | null} */
  #link = null;
  /** @type {'opus' | 'pcm'} */
  #encoding = 'opus';
  /** Whether what comes has the encoding that was asked for: Opus taken for samples would be noise at full level. */
  #readable = false;
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #statsTimer;
  /** @type {ServerStats | null} */
  #serverStats = null;
  /** @type {import('./jitter_buffer.js').BufferReport | null} */
  #buffer = null;
  #reasonLost = '';
  #attempt = 0;
  #you = new Meter();
  #moshi = new Meter();
  /** Of all open() so far, until clear(), as the recording. */
  #lines = new Lines();
  #recording = new Recording(0);
  #toldFull = false;
  /**
   * The recording's clock minus the sound card's; null before a conversation has begun.
   * @type {number | null}
   */
  #offset = null;
  /**
   * From the sound card's time to when something was said and is heard, s. What the browser tells of it wavers: it is
   * asked once, so that the recording does not.
   */
  #latency = {you: 0, moshi: 0};
  /** Where the recording's clock stood at the last end. */
  #elapsed = 0;

  /**
   * Begins. To be called from a click or a key, or the browser keeps the sound silent. Never rejects: what goes wrong
   * is a state. While a conversation goes on, it is ended first.
   * @param {Settings} [settings]
   * @returns {Promise<void>} When the connection is under way.
   */
  async open(settings = {}) {
    this.#leave();
    const generation = this.#generation;
    this.#settings = {...settings};
    this.#recording.limit = Math.max(settings.recordSeconds ?? 3600, this.#recording.seconds);
    this.#toldFull = settings.recordSeconds === 0;
    if (typeof AudioWorkletNode === 'undefined' && globalThis.isSecureContext) {
      this.#end('sound', 'This browser cannot handle sound', 'Use a current Chrome, Edge, Firefox or Safari.');
      return;
    }
    let context;
    try {
      context = makeContext();
    } catch (error) {
      this.#end('sound', 'The browser cannot open a sound card', `It says: ${/** @type {Error} */ (error).message}`);
      return;
    }
    this.#become({name: 'asking'});
    const microphone = await askForMicrophone(settings);
    if (generation !== this.#generation || 'problem' in microphone) {
      if ('stream' in microphone) stopStream(microphone.stream);
      await context.close();
      if (generation !== this.#generation || !('problem' in microphone)) return;
      this.#end('microphone', microphone.problem.title, microphone.problem.advice);
      return;
    }
    await this.#begin(generation, context, microphone.stream);
  }

  /** Ends it, at once. */
  close() {
    if (this.state.name === 'idle' || this.state.name === 'ended') return;
    this.#end('you', 'You ended the conversation', '');
  }

  /**
   * The server hears silence, the conversation goes on.
   * @param {boolean} muted
   */
  mute(muted) {
    this.muted = muted;
    this.#card?.mute(muted);
  }

  /** @param {number} volume 0 to 1 */
  setVolume(volume) {
    this.#settings.volume = volume;
    this.#card?.setVolume(volume);
  }

  /** @param {number} ms */
  setMostLag(ms) {
    this.#settings.mostLagMs = ms;
    this.#card?.setLimit(ms);
  }

  /** @param {string} deviceId */
  async setSpeaker(deviceId) {
    this.#settings.speaker = deviceId;
    const card = this.#card;
    try {
      await card?.setSpeaker(deviceId);
    } catch {
      if (card !== this.#card) return; // it was closed meanwhile
      this.#tell('note', {title: 'The chosen loudspeaker cannot be used', advice: 'The sound goes on where it was.'});
    }
  }

  /** Lets sound go on after the browser stopped it (a call, another app); a `note` told of it. From a click. */
  async resume() {
    await this.#card?.resume();
  }

  /**
   * Both sides up to now, left you, right Moshi, on one clock; null when nothing was recorded.
   * @returns {Blob | null} audio/wav
   */
  wav() {
    return this.#recording.wav();
  }

  /** The text with times, a line for each utterance. */
  transcript() {
    return this.#lines.transcript();
  }

  /** Forgets recording and texts. */
  clear() {
    this.#lines = new Lines();
    this.#recording = new Recording(this.#settings.recordSeconds ?? 3600);
    this.#toldFull = this.#settings.recordSeconds === 0;
    this.#elapsed = 0;
    if (this.#card && this.#offset !== null) this.#offset = GAP_S - this.#card.time;
  }

  /** @param {number} generation @param {AudioContext} context @param {MediaStream} stream */
  async #begin(generation, context, stream) {
    const settings = this.#settings;
    const opus = settings.encoding !== 'pcm' && await opusSupported();
    try {
      const card = await this.#openCard(context, stream);
      if (generation !== this.#generation) {
        card.close();
        return;
      }
      this.#card = card;
      if (card.unplugged) {
        this.#endUnplugged();
        return;
      }
    } catch (error) {
      if (generation !== this.#generation) return;
      const {name, message} = /** @type {Error} */ (error);
      // What a worklet that could not be fetched gives.
      if (name === 'AbortError') {
        this.#end('lost', 'The server cannot be reached',
          'It does not answer: begin again when it is there. If it is, this browser is too old for the sound.');
        return;
      }
      this.#end('sound', 'The browser cannot handle this sound card', `It says: ${message}`);
      return;
    }
    if (settings.encoding === 'opus' && !opus) {
      this.#end('sound', 'This browser has no Opus', 'Choose PCM, or another browser.');
      return;
    }
    this.#encoding = opus ? 'opus' : 'pcm';
    this.analysers = this.#card.analysers;
    this.#card.setLimit(settings.mostLagMs ?? 200);
    this.#card.setVolume(settings.volume ?? 1);
    this.#card.mute(this.muted);
    if (settings.speaker) this.setSpeaker(settings.speaker);
    this.#card.resume().catch(() => {});
    if (!this.#card.running) setTimeout(() => this.#tellSilence(generation), 500);
    this.#statsTimer = setInterval(() => this.#tellStats(), STATS_MS);
    this.#connect();
  }

  get #server() {
    return this.#settings.server ?? new URL('.', document.baseURI).href;
  }

  /** @param {AudioContext} context @param {MediaStream} stream */
  #openCard(context, stream) {
    return SoundCard.open(context, stream, {
      captured: (time, samples) => this.#captured(time, samples),
      played: (time, samples, report) => this.#played(time, samples, report),
      changed: () => this.#tellSilence(this.#generation),
      unplugged: () => this.#endUnplugged(),
      broken: () => this.#end('sound', 'The browser stopped the sound', 'Begin again; if that fails, reload the page.'),
    });
  }

  #connect() {
    const {token = ''} = this.#settings, server = this.#server;
    this.#connection = new Connection(
      chatAddress(server, this.#settings, this.#encoding), () => explainUnopened(server, token), {
        connecting: () => this.#become(this.#attempt === 0 ? {name: 'connecting'} :
          {name: 'reconnecting', reason: this.#reasonLost, attempt: this.#attempt, inMs: 0}),
        waiting: (place, length) => this.#become({name: 'waiting', place, length}),
        begun: () => this.#talk(),
        audio: (payload) => {
          if (this.#readable) this.#link?.read(payload);
        },
        text: (text) => this.#takeText(text),
        facts: (facts) => {
          this.#readable ||= facts.audio === 'pcm';
          this.#tell('server', facts);
        },
        stats: (stats) => {
          this.#serverStats = stats;
          this.#link?.delays.dropped(stats.dropped_samples ?? stats.dropped_frames * FRAME_SAMPLES);
        },
        lost: (reason, attempt, inMs) => this.#lost(reason, attempt, inMs),
        ended: (reason, title, advice) => this.#end(reason, title, advice),
      });
    this.#connection.start();
  }

  /** The handshake has come: what the microphone hears from now on is sent. */
  #talk() {
    const card = this.#card, connection = this.#connection;
    if (!card || !connection) return;
    this.#unlink();
    this.#readable = this.#encoding === 'opus';
    this.#link = new Link(this.#encoding, card.rate, {
      send: (payload) => connection.sendAudio(payload),
      unsent: () => connection.unsent,
      sound: (samples) => card.play(samples),
      problem: (problem) => this.#unreadable(problem),
    });
    if (this.#offset === null) {
      this.#offset = this.#elapsed + GAP_S - card.time;
      this.#latency = {you: -(card.captureLatency ?? 0), moshi: card.outputLatency ?? 0};
    }
    this.#attempt = 0;
    this.#become({name: 'talking'});
  }

  /** @param {string} reason @param {number} attempt @param {number} inMs */
  #lost(reason, attempt, inMs) {
    this.#unlink();
    this.#reasonLost = reason;
    this.#attempt = attempt;
    this.#become({name: 'reconnecting', reason, attempt, inMs});
  }

  /**
   * A codec that was said to be there does not work: goes on without it, if that is allowed.
   * @param {string} problem
   */
  #unreadable(problem) {
    if (this.#encoding === 'pcm' || this.#settings.encoding === 'opus') {
      this.#end('sound', 'The sound cannot be sent or read', problem);
      return;
    }
    this.#encoding = 'pcm';
    this.#connection?.close();
    this.#lost(problem, 1, 0);
    this.#connect();
  }

  #unlink() {
    this.#link?.close();
    this.#link = null;
    this.#serverStats = null;
    this.#card?.reset();
  }

  /** @param {number} time @param {Float32Array} samples */
  #captured(time, samples) {
    this.#link?.write(samples);
    this.#you.add(samples);
    this.#record('you', time, samples);
  }

  /** @param {number} time @param {Float32Array} samples @param {import('./jitter_buffer.js').BufferReport} report */
  #played(time, samples, report) {
    this.#buffer = report;
    this.#record('moshi', time, samples);
    this.#moshi.add(samples);
    this.#tell('levels', {you: this.#you.take(), moshi: this.#moshi.take()});
  }

  /** @param {'you' | 'moshi'} side @param {number} time @param {Float32Array} samples */
  #record(side, time, samples) {
    if (!this.#card || this.#offset === null) return;
    this.#recording.add(side, time + this.#latency[side] + this.#offset, this.#card.rate, samples);
    if (!this.#recording.full || this.#toldFull) return;
    this.#toldFull = true;
    this.#tell('note', {
      title: 'The recording is full', advice: 'The conversation goes on without it; what was recorded can be saved.',
    });
  }

  /** @param {string} text */
  #takeText(text) {
    if (!this.#card || this.#offset === null) return;
    const heard = this.#card.time + (this.#buffer?.bufferedMs ?? 0) / 1000 + this.#latency.moshi;
    const piece = {text, time: heard + this.#offset};
    this.#lines.add(piece);
    this.#tell('text', piece);
  }

  #tellStats() {
    const card = this.#card, link = this.#link, buffer = this.#buffer;
    if (!card || !link || !buffer) return;
    this.#tell('stats', statsOf(this.#encoding, card, link, buffer, this.#serverStats, this.#recording.seconds));
  }

  /**
   * A call stops the sound and mutes the microphone: what can be cured by a click goes first.
   * @param {number} generation
   */
  #tellSilence(generation) {
    if (generation !== this.#generation || !this.#card) return;
    if (!this.#card.running) {
      this.#tell('note', {
        title: 'The browser stopped the sound', advice: 'Let it go on. If it does not, is there a loudspeaker?',
        resume: true,
      });
    } else if (this.#card.silenced) {
      this.#tell('note', {title: 'The system muted the microphone', advice: 'Its switch, or another app, did that.'});
    } else {
      this.#tell('note', null);
    }
  }

  #endUnplugged() {
    this.#end('microphone', 'The microphone is gone', 'Plug one in, and begin again.');
  }

  /** @param {Ended['reason']} reason @param {string} title @param {string} advice */
  #end(reason, title, advice) {
    this.#leave();
    this.#become({name: 'ended', reason, title, advice});
  }

  #leave() {
    ++this.#generation;
    clearInterval(this.#statsTimer);
    if (this.#card && this.#offset !== null) this.#elapsed = this.#card.time + this.#offset;
    this.#connection?.close();
    this.#connection = null;
    this.#unlink();
    this.#card?.close();
    this.#card = null;
    this.analysers = null;
    this.#offset = null;
    this.#buffer = null;
    this.#attempt = 0;
  }

  /** @param {State} state */
  #become(state) {
    this.state = state;
    this.#tell('state', state);
  }

  /** @param {string} type @param {unknown} detail */
  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, {detail}));
  }
}
