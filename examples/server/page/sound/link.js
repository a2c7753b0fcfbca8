// SPDX-License-Identifier: MIT
// @ts-check
// The sound of one connection, both ways: samples of the sound card here, payloads of audio messages there.
import {AnswerDelays} from './answer_delays.js';
import {OpusReceiver, OpusSender} from './opus_codec.js';
import {PcmReceiver, PcmSender} from './pcm_codec.js';
import {FRAME_SAMPLES, SAMPLE_RATE} from './protocol.js';

/** What waits for the network is at most as much; the newest beyond that is left out. */
const MOST_UNSENT_MS = 1000;
const SAMPLES_PER_MS = SAMPLE_RATE / 1000;

/**
 * @typedef {object} Ends
 * @property {(payload: Uint8Array) => void} send
 * @property {() => number} unsent Bytes that wait for the network.
 * @property {(samples: Float32Array) => void} sound
 * @property {(problem: string) => void} problem
 */

export class Link {
  delays = new AnswerDelays();
  #ends;
  #sender;
  #receiver;
  #sentBytes = 0;
  #sentSamples = 0;
  #droppedSamples = 0;

  /** @param {'opus' | 'pcm'} encoding @param {number} rate Of the sound card. @param {Ends} ends */
  constructor(encoding, rate, ends) {
    this.#ends = ends;
    const onPacket = (/** @type {() => Uint8Array} */ payload, /** @type {number} */ samples) =>
      this.#send(payload, samples);
    const opus = encoding === 'opus';
    this.#sender = opus ? new OpusSender(rate, onPacket, ends.problem) : new PcmSender(rate, onPacket);
    this.#receiver = opus ? new OpusReceiver(rate, ends.sound, ends.problem) : new PcmReceiver(rate, ends.sound);
  }

  get unsentMs() {
    if (this.#sentBytes === 0) return 0;
    return this.#ends.unsent() / this.#sentBytes * this.#sentSamples / SAMPLES_PER_MS;
  }

  /** That the page did not send. */
  get droppedFrames() {
    return Math.ceil(this.#droppedSamples / FRAME_SAMPLES);
  }

  /** @param {Float32Array} samples Of the microphone. */
  write(samples) {
    this.#sender.write(samples);
  }

  /** @param {Uint8Array} payload Of the server. */
  read(payload) {
    const samples = this.#receiver.read(payload);
    this.delays.received(samples, performance.now());
  }

  close() {
    this.#sender.close();
    this.#receiver.close();
  }

  /** @param {() => Uint8Array} payload @param {number} samples */
  #send(payload, samples) {
    if (this.unsentMs > MOST_UNSENT_MS) {
      this.#droppedSamples += samples;
      return;
    }
    const bytes = payload();
    this.#sentBytes += bytes.length;
    this.#sentSamples += samples;
    this.#ends.send(bytes);
    this.delays.sent(samples, performance.now());
  }
}
