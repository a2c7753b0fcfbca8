// SPDX-License-Identifier: MIT
// @ts-check
// What the server says of itself, and the token that it may want for that.

/**
 * @typedef {object} Info
 * @property {{name: string, speaks: boolean, writes: boolean}} model
 * @property {{text_temperature?: number, text_topk?: number, audio_temperature?: number, audio_topk?: number}} defaults
 * @property {{talking: number, waiting: number, places: number, queue: number} | null} sessions
 * @property {string} version
 */

/**
 * What asking came to. `again`: it is worth asking again soon.
 * @typedef {{info: Info} | {token: 'wanted' | 'wrong'} | {again: boolean, title: string, advice: string}} Answer
 */

const KEY = 'moshi-token';
const PATIENCE_MS = 10000;

/** @param {unknown} value @returns {Record<string, unknown>} */
function objectOf(value) {
  return typeof value === 'object' && value !== null ? /** @type {Record<string, unknown>} */ (value) : {};
}

/** @param {unknown} value */
const numberOf = (value) => (typeof value === 'number' && Number.isFinite(value) ? value : undefined);

/** @param {unknown} value */
const textOf = (value) => (typeof value === 'string' ? value : '');

/**
 * @param {unknown} json
 * @returns {Info}
 */
export function readInfo(json) {
  const all = objectOf(json);
  const [model, defaults, sessions] = [all.model, all.defaults, all.sessions].map(objectOf);
  const places = numberOf(sessions.places);
  const count = (/** @type {string} */ name) => numberOf(sessions[name]) ?? 0;
  return {
    model: {name: textOf(model.name), speaks: model.speaks !== false, writes: model.writes !== false},
    defaults: {
      text_temperature: numberOf(defaults.text_temperature),
      text_topk: numberOf(defaults.text_topk),
      audio_temperature: numberOf(defaults.audio_temperature),
      audio_topk: numberOf(defaults.audio_topk),
    },
    sessions: places ? {talking: count('talking'), waiting: count('waiting'), places, queue: count('queue')} : null,
    version: textOf(all.version),
  };
}

/**
 * @param {string} token
 * @returns {Promise<Answer>}
 */
export async function askInfo(token) {
  const headers = token ? {Authorization: `Bearer ${token}`} : undefined;
  const abort = new AbortController();
  const timer = setTimeout(() => abort.abort(), PATIENCE_MS);
  try {
    const response = await fetch('api/info', {headers, cache: 'no-store', signal: abort.signal});
    if (response.ok) return {info: readInfo(await response.json())};
    if (response.status === 401) return {token: token ? 'wrong' : 'wanted'};
    if (response.status === 503) {
      const advice = 'It says when it is ready; this page goes on by itself.';
      return {again: true, title: 'The server is not ready yet', advice};
    }
    const title = `The server answers with error ${response.status}`;
    return {again: false, title, advice: 'Reload the page, or tell whoever runs it.'};
  } catch {
    const advice = 'Is it running, and are you on the network? This page tries again by itself.';
    return {again: true, title: 'The server cannot be reached', advice};
  } finally {
    clearTimeout(timer);
  }
}

/**
 * The sentence under the title. Null: not known.
 * @param {Info} info
 */
export function sentenceOf(info) {
  if (isParrot(info)) {
    return 'You talk to the parrot that comes with the server: it repeats what you say two seconds later, and writes ' +
      'when that is speech and when silence.';
  }
  const {name, speaks, writes} = info.model;
  const does = speaks && writes ? '' : writes ? ' It writes and does not speak.' : ' It speaks and does not write.';
  return `You talk to ${name || 'a model without a name'}.${does}`;
}

/** @param {Info} info */
export function isParrot(info) {
  return info.model.name === 'embedded';
}

/** Whether the address brings a token. */
export function givesToken() {
  return givenToken() !== null;
}

function givenToken() {
  return new URLSearchParams(location.hash.slice(1)).get('token');
}

/**
 * The token of this tab. In the address (#token=...) it takes the kept one's place and does not stay visible there.
 * @returns {string}
 */
export function takeToken() {
  const given = givenToken();
  if (given !== null) {
    history.replaceState(null, '', location.pathname + location.search);
    keepToken(given);
    return given;
  }
  try {
    return sessionStorage.getItem(KEY) ?? '';
  } catch {
    return '';
  }
}

/** @param {string} token  Empty: forget it. */
export function keepToken(token) {
  try {
    if (token) sessionStorage.setItem(KEY, token);
    else sessionStorage.removeItem(KEY);
  } catch {
    // storage is forbidden: the token holds until the page is closed
  }
}
