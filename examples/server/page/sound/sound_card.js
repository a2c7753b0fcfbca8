// SPDX-License-Identifier: MIT
// @ts-check
// Microphone and loudspeaker on one clock. The context has the sound card's own rate: some browsers cannot join a
// microphone and a context of different rates, and others resample with more delay than we need.

/** @typedef {import('./capture_worklet.js').Captured} Captured */
/** @typedef {import('./playback_worklet.js').Played} Played */
/** @typedef {import('./playback_worklet.js').PlaybackOrder} PlaybackOrder */

/**
 * @typedef {object} Events Times are seconds of the context's clock.
 * @property {(time: number, samples: Float32Array) => void} captured
 * @property {(time: number, samples: Float32Array, report: import('./jitter_buffer.js').BufferReport) => void} played
 * @property {() => void} changed Of `running` or `silenced`.
 * @property {() => void} unplugged The microphone is gone.
 * @property {() => void} broken A worklet died: one side is silent for good.
 */

const ANALYSER_SIZE = 2048;
/**
 * Firefox with PulseAudio, asked for the latency of the loudspeaker, now and then waits for it for ever: the graph's
 * lock is held while the sound server's is waited for, and the other way round.
 */
const LOCKS_UP = /Linux.*Firefox/.test(navigator.userAgent);

/** Makes a context; must be called from a click or a key. */
export function makeContext() {
  return new AudioContext({latencyHint: 'interactive'});
}

export class SoundCard {
  /** @type {{you: AnalyserNode, moshi: AnalyserNode}} */
  analysers;
  #context;
  #stream;
  #track;
  #source;
  #capture;
  #playback;
  #gain;
  #closed = false;

  /**
   * @param {AudioContext} context
   * @param {MediaStream} stream Both are closed if it fails, and with close().
   * @param {Events} events
   * @returns {Promise<SoundCard>} Rejects where the browser cannot.
   */
  static async open(context, stream, events) {
    try {
      await Promise.all(['capture', 'playback'].map(
        (name) => context.audioWorklet.addModule(new URL(`./${name}_worklet.js`, import.meta.url))));
      return new SoundCard(context, stream, events);
    } catch (error) {
      stopStream(stream);
      await context.close();
      throw error;
    }
  }

  /** @param {AudioContext} context @param {MediaStream} stream @param {Events} events */
  constructor(context, stream, events) {
    this.#context = context;
    this.#stream = stream;
    this.#track = stream.getAudioTracks()[0];
    this.#source = context.createMediaStreamSource(stream);
    this.#capture = new AudioWorkletNode(context, 'moshi-capture', {
      numberOfOutputs: 0, channelCount: 1, channelCountMode: 'explicit', channelInterpretation: 'speakers',
    });
    this.#playback = new AudioWorkletNode(context, 'moshi-playback', {numberOfInputs: 0, outputChannelCount: [1]});
    this.#gain = context.createGain();
    this.analysers = {you: context.createAnalyser(), moshi: context.createAnalyser()};
    for (const analyser of Object.values(this.analysers)) analyser.fftSize = ANALYSER_SIZE;
    this.#source.connect(this.analysers.you);
    this.#source.connect(this.#capture);
    this.#playback.connect(this.analysers.moshi);
    this.#playback.connect(this.#gain).connect(context.destination);
    this.#listen(events);
  }

  /** @param {Events} events */
  #listen(events) {
    const rate = this.#context.sampleRate;
    this.#capture.port.onmessage = (/** @type {MessageEvent<Captured>} */ {data}) =>
      events.captured(data.frame / rate, data.samples);
    this.#playback.port.onmessage = (/** @type {MessageEvent<Played>} */ {data}) =>
      events.played(data.frame / rate, data.samples, data.report);
    this.#context.onstatechange = () => {
      if (!this.#closed) events.changed();
    };
    this.#track.onmute = this.#track.onunmute = () => events.changed();
    this.#track.onended = () => events.unplugged();
    for (const node of [this.#capture, this.#playback]) {
      node.addEventListener('processorerror', () => {
        if (!this.#closed) events.broken();
      });
    }
  }

  get rate() {
    return this.#context.sampleRate;
  }

  get time() {
    return this.#context.currentTime;
  }

  get running() {
    return this.#context.state === 'running';
  }

  /** Whether the system muted the microphone. */
  get silenced() {
    return this.#track.muted;
  }

  /** Whether the microphone is gone. */
  get unplugged() {
    return this.#track.readyState === 'ended';
  }

  /** From the microphone to the context, s; null where the browser does not tell. */
  get captureLatency() {
    const latency = /** @type {{latency?: number}} */ (this.#track.getSettings()).latency;
    return latency ?? null;
  }

  /** From the context to the ear, s; null where the browser does not tell, or cannot be asked. */
  get outputLatency() {
    if (LOCKS_UP) return null;
    const {baseLatency, outputLatency} = this.#context;
    return (outputLatency > 0 ? outputLatency : baseLatency) || null;
  }

  /** @param {Float32Array} sound At the context's rate; it is given away. */
  play(sound) {
    this.#order({sound}, [sound.buffer]);
  }

  /** @param {number} limitMs */
  setLimit(limitMs) {
    this.#order({limitMs});
  }

  /** What waits is thrown away. */
  reset() {
    this.#order({reset: true});
  }

  /** @param {number} volume */
  setVolume(volume) {
    this.#gain.gain.setTargetAtTime(volume, this.#context.currentTime, 0.02);
  }

  /** @param {boolean} muted The microphone is silent for everything here. */
  mute(muted) {
    this.#track.enabled = !muted;
  }

  /** @param {string} deviceId Does nothing where the browser cannot choose. */
  async setSpeaker(deviceId) {
    await this.#context.setSinkId?.(deviceId);
  }

  async resume() {
    await this.#context.resume();
  }

  close() {
    this.#closed = true;
    this.#track.onended = this.#track.onmute = this.#track.onunmute = null;
    this.#capture.port.onmessage = this.#playback.port.onmessage = null;
    stopStream(this.#stream);
    this.#context.close().catch(() => {});
  }

  /** @param {PlaybackOrder} order @param {Transferable[]} [transfer] */
  #order(order, transfer = []) {
    this.#playback.port.postMessage(order, transfer);
  }
}

/** @param {MediaStream} stream */
export function stopStream(stream) {
  for (const track of stream.getTracks()) track.stop();
}
