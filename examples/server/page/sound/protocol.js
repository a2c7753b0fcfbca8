// SPDX-License-Identifier: MIT
// @ts-check
// Messages, addresses and closes of the conversation protocol (docs/protocol.md).

export const KIND = Object.freeze({handshake: 0, audio: 1, text: 2, control: 3, metadata: 4, error: 5, ping: 6});
const MOST_KIND = 6;

export const SAMPLE_RATE = 24000;
/** 80 ms */
export const FRAME_SAMPLES = 1920;

/**
 * What a conversation was begun with; sent after the handshake.
 * @typedef {object} ServerFacts
 * @property {number} [text_temperature]
 * @property {number} [text_topk]
 * @property {number} [audio_temperature]
 * @property {number} [audio_topk]
 * @property {string} [lm_model_file]
 * @property {string} [instance_name]
 * @property {Record<string, unknown>} [build_info]
 * @property {number} [seed]
 * @property {string} [listen]
 * @property {string} [audio]
 * @property {number} [max_lag_ms]
 * @property {string[]} [ignored] Parameters that the server cannot follow.
 */

/**
 * @typedef {object} ServerStats
 * @property {number} frames_in
 * @property {number} frames_out
 * @property {number} dropped_frames Rounded up.
 * @property {number} [dropped_samples]
 * @property {number} lag_ms
 * @property {{p50: number, p99: number}} [frame_delay_ms]
 * @property {number} [sessions]
 */

/**
 * @typedef {{queue: {place: number, length: number}} | {stats: ServerStats} | {facts: ServerFacts}} Metadata
 */

/**
 * @param {number} kind
 * @param {Uint8Array} [payload]
 * @returns {Uint8Array}
 */
export function makeMessage(kind, payload) {
  const message = new Uint8Array(1 + (payload?.length ?? 0));
  message[0] = kind;
  if (payload) message.set(payload, 1);
  return message;
}

/**
 * Null for what is to be discarded: text messages, empty ones, kinds that do not exist.
 * @param {unknown} data Of a MessageEvent.
 * @returns {{kind: number, payload: Uint8Array} | null} The payload is not copied.
 */
export function parseMessage(data) {
  if (!(data instanceof ArrayBuffer) || data.byteLength === 0) return null;
  const bytes = new Uint8Array(data);
  return bytes[0] > MOST_KIND ? null : {kind: bytes[0], payload: bytes.subarray(1)};
}

const decoder = new TextDecoder();

/** @param {Uint8Array} payload */
export function textOf(payload) {
  return decoder.decode(payload);
}

/** @param {unknown} value @returns {value is Record<string, any>} */
function isObject(value) {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/**
 * Null when it is not a JSON object, or lacks the numbers that its key promises.
 * @param {Uint8Array} payload
 * @returns {Metadata | null}
 */
export function parseMetadata(payload) {
  let value;
  try {
    value = JSON.parse(textOf(payload));
  } catch {
    return null;
  }
  if (!isObject(value)) return null;
  if ('queue' in value) {
    const queue = value.queue;
    const complete = isObject(queue) && Number.isInteger(queue.place) && Number.isInteger(queue.length);
    return complete ? {queue: {place: queue.place, length: queue.length}} : null;
  }
  if ('stats' in value) {
    const stats = value.stats;
    const numbers = ['frames_in', 'frames_out', 'dropped_frames', 'lag_ms'];
    const complete = isObject(stats) && numbers.every((name) => typeof stats[name] === 'number');
    return complete ? {stats: /** @type {ServerStats} */ (stats)} : null;
  }
  return {facts: value};
}

/**
 * The address of a conversation, with everything that is asked for in its query: a browser cannot send headers with a
 * WebSocket.
 * @param {string} server The server's root, http or https.
 * @param {import('./conversation.js').Settings} settings
 * @param {'opus' | 'pcm'} encoding
 */
export function chatAddress(server, settings, encoding) {
  const address = rootOf(server);
  address.protocol = address.protocol.replace(/^http/, 'ws');
  address.pathname += 'api/chat';
  const sampling = settings.sampling ?? {};
  const query = {
    text_temperature: sampling.textTemperature,
    text_topk: sampling.textTopk,
    audio_temperature: sampling.audioTemperature,
    audio_topk: sampling.audioTopk,
    seed: sampling.seed,
    listen: settings.listen,
    max_steps: settings.maxSteps,
    audio: encoding === 'pcm' ? 'pcm' : undefined,
    metadata: 1,
    stats: 1,
    token: settings.token || undefined,
  };
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined && value !== null) address.searchParams.set(name, String(value));
  }
  return address.href;
}

/**
 * @param {string} server
 * @param {string} path
 */
export function serverAddress(server, path) {
  const address = rootOf(server);
  address.pathname += path;
  return address.href;
}

/** @param {string} server */
function rootOf(server) {
  const address = new URL(server);
  address.search = '';
  address.hash = '';
  if (!address.pathname.endsWith('/')) address.pathname += '/';
  return address;
}

/**
 * What the close of a conversation means. `again`: the connection was lost, or the server stopped to come back; what
 * the server refuses on purpose would be refused again.
 * @typedef {{again: true, reason: string} | {again: false, reason: 'finished' | 'full' | 'refused' | 'failed',
 *     title: string, advice: string}} Close
 */

/**
 * @param {number} code
 * @param {string} sentence The server's error message; empty: there was none.
 * @returns {Close}
 */
export function closeOf(code, sentence) {
  switch (code) {
    case 1000:
      return {again: false, reason: 'finished', title: 'The conversation is over', advice: sentence};
    case 1003:
    case 1008:
    case 1009:
      return {
        again: false, reason: 'refused', title: 'The server ended the conversation',
        advice: sentence || 'It did not accept what it was sent.',
      };
    case 1011:
      return {
        again: false, reason: 'failed', title: 'The conversation failed on the server',
        advice: sentence || 'Begin a new one; if that fails too, the server\'s log says more.',
      };
    case 1013:
      return {again: false, reason: 'full', title: 'All places are taken', advice: sentence || 'Try again later.'};
    case 1001:
      return {again: true, reason: sentence || 'The server stopped.'};
    default:
      return {again: true, reason: sentence || 'The connection was lost.'};
  }
}
