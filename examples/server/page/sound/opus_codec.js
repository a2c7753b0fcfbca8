// SPDX-License-Identifier: MIT
// @ts-check
// Opus by WebCodecs, in Ogg. Samples have the sound card's rate.
import {OggOpusReader, OggOpusWriter, packetSamples} from './ogg.js';
import {Resampler} from './resampler.js';

const RATE = 48000;
const MICROSECONDS = 1e6;
/** @type {AudioEncoderConfig} */
const ENCODER = {
  codec: 'opus', sampleRate: RATE, numberOfChannels: 1, bitrate: 48000, bitrateMode: 'variable',
  opus: {frameDuration: 20000, complexity: 5},
};
/** @type {AudioDecoderConfig} Without OpusHead, so that its pre-skip is not skipped. */
const DECODER = {codec: 'opus', sampleRate: RATE, numberOfChannels: 1};

/**
 * Whether the browser has both directions.
 * @returns {Promise<boolean>}
 */
export async function opusSupported() {
  if (typeof AudioEncoder === 'undefined' || typeof AudioDecoder === 'undefined') return false;
  try {
    const asked = [AudioEncoder.isConfigSupported(ENCODER), AudioDecoder.isConfigSupported(DECODER)];
    return (await Promise.all(asked)).every((answer) => answer.supported);
  } catch {
    return false;
  }
}

export class OpusSender {
  #resampler;
  #writer = new OggOpusWriter();
  #encoder;
  #samples = 0;

  /**
   * @param {number} rate Of what is written.
   * @param {(payload: () => Uint8Array, samples: number) => void} onPacket A packet's duration at 24 kHz; the payload
   *     must be taken, or left out of the stream, before the next one.
   * @param {(problem: string) => void} onProblem
   */
  constructor(rate, onPacket, onProblem) {
    this.#resampler = new Resampler(rate, RATE).prime();
    this.#encoder = new AudioEncoder({
      output: (chunk) => {
        const packet = new Uint8Array(chunk.byteLength);
        chunk.copyTo(packet);
        onPacket(() => this.#writer.append(packet), packetSamples(packet));
      },
      error: (error) => onProblem(`The browser cannot encode Opus: ${error.message}`),
    });
    this.#encoder.configure(ENCODER);
  }

  /** @param {Float32Array} samples */
  write(samples) {
    const sound = this.#resampler.process(samples);
    if (sound.length === 0 || this.#encoder.state !== 'configured') return;
    const timestamp = Math.round(this.#samples / RATE * MICROSECONDS);
    this.#samples += sound.length;
    const data = new AudioData({
      format: 'f32', sampleRate: RATE, numberOfFrames: sound.length, numberOfChannels: 1, timestamp, data: sound,
    });
    this.#encoder.encode(data);
    data.close();
  }

  close() {
    if (this.#encoder.state !== 'closed') this.#encoder.close();
  }
}

export class OpusReceiver {
  #reader = new OggOpusReader();
  #resampler;
  #decoder;
  #samples = 0;
  #onProblem;

  /**
   * @param {number} rate Of what is given.
   * @param {(samples: Float32Array) => void} onSound
   * @param {(problem: string) => void} onProblem
   */
  constructor(rate, onSound, onProblem) {
    this.#onProblem = onProblem;
    this.#resampler = new Resampler(RATE, rate).prime();
    this.#decoder = new AudioDecoder({
      output: (data) => {
        const samples = new Float32Array(data.numberOfFrames);
        data.copyTo(samples, {planeIndex: 0, format: 'f32-planar'});
        data.close();
        onSound(this.#resampler.process(samples));
      },
      error: (error) => onProblem(`The browser cannot decode Opus: ${error.message}`),
    });
    this.#decoder.configure(DECODER);
  }

  /** @param {Uint8Array} payload @returns {number} How much sound has come, in samples at 24 kHz. */
  read(payload) {
    let received = 0;
    for (const {packet, samples} of this.#reader.append(payload)) {
      received += samples;
      if (this.#decoder.state !== 'configured') continue;
      const timestamp = Math.round(this.#samples / 24000 * MICROSECONDS);
      this.#samples += samples;
      this.#decoder.decode(new EncodedAudioChunk({type: 'key', timestamp, data: packet}));
    }
    if (this.#reader.problem) this.#onProblem(this.#reader.problem);
    return received;
  }

  close() {
    if (this.#decoder.state !== 'closed') this.#decoder.close();
  }
}
