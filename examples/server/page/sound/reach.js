// SPDX-License-Identifier: MIT
// @ts-check
// Why a WebSocket did not open: the browser does not tell, but answers to plain requests are seen.
import {serverAddress} from './protocol.js';

const LIMIT_MS = 5000;

/** @typedef {import('./connection.js').Answer} Answer */

/**
 * @param {string} server
 * @param {string} token
 * @returns {Promise<Answer>}
 */
export async function explainUnopened(server, token) {
  const stop = new AbortController();
  const timer = setTimeout(() => stop.abort(), LIMIT_MS);
  /** @type {RequestInit} */
  const how = {cache: 'no-store', signal: stop.signal};
  try {
    const info = await fetch(serverAddress(server, 'api/info'),
      token ? {...how, headers: {Authorization: `Bearer ${token}`}} : how);
    if (!info.ok && info.status !== 503) return explainStatus(info.status, token);
    const health = await fetch(serverAddress(server, 'health'), how);
    return explainHealth((await health.json()).status);
  } catch {
    return {again: true, reason: 'The server does not answer.'};
  } finally {
    clearTimeout(timer);
  }
}

/**
 * @param {number} status Of HTTP, when the token was looked at.
 * @param {string} token
 * @returns {Answer}
 */
export function explainStatus(status, token) {
  if (status === 401) {
    return {
      again: false, reason: 'token',
      title: token ? 'The server does not accept this access token' : 'The server wants an access token',
      advice: 'Enter the token that the server was started with, or ask whoever runs it.',
    };
  }
  return {again: true, reason: `The server, or a proxy before it, answers with error ${status}.`};
}

/**
 * @param {unknown} status Of the server, in its own words.
 * @returns {Answer}
 */
export function explainHealth(status) {
  if (status === 'loading') return {again: true, there: true, reason: 'The server is still loading its model.'};
  if (status === 'stopping') return {again: true, reason: 'The server stops.'};
  if (status === 'full') return {again: true, there: true, reason: 'All places are taken.'};
  return {
    again: true,
    reason: 'The server is there, but does not let this page talk. Either a proxy before it does not pass WebSockets ' +
      `on, or it has to be started with --origin ${globalThis.location?.origin ?? 'and this page\'s address'}.`,
  };
}
