// SPDX-License-Identifier: MIT
// @ts-check
// States of a conversation in words.

/** @typedef {import('../sound/conversation.js').State} State */
/**
 * @typedef {object} Words
 * @property {string} word
 * @property {string} detail
 * @property {'calm' | 'busy' | 'good' | 'bad'} mood
 * @property {string} button
 * @property {boolean} active  The button ends what goes on.
 */

/** @type {(state: State, muted?: boolean) => Words} */
export function wordsOf(state, muted = false) {
  switch (state.name) {
    case 'idle':
      return begin('Ready', 'Press the button, allow the microphone, and speak.', 'calm', 'Start talking');
    case 'asking':
      return going('Asking for the microphone', 'If your browser shows a question, allow it.', 'busy', 'Cancel');
    case 'connecting':
      return going('Connecting', '', 'busy', 'Cancel');
    case 'waiting': {
      const line = `Waiting: place ${state.place} of ${state.length}`;
      const detail = 'All places are taken. Stay here: you get in by yourself when it is your turn.';
      return going(line, detail, 'busy', 'Leave');
    }
    case 'talking': {
      const free = 'Speak whenever you like: it listens while it speaks.';
      return going('Talking', muted ? 'Your microphone is muted: the model hears silence.' : free, 'good', 'End');
    }
    case 'reconnecting':
      return going('Reconnecting', state.reason, 'busy', 'Give up');
    case 'ended':
      return begin(state.title, state.advice, isFine(state.reason) ? 'calm' : 'bad', 'Start again');
  }
}

/** @param {string} reason */
function isFine(reason) {
  return reason === 'you' || reason === 'finished';
}

/** @type {(word: string, detail: string, mood: Words['mood'], button: string) => Words} */
const begin = (word, detail, mood, button) => ({word, detail, mood, button, active: false});

/** @type {(word: string, detail: string, mood: Words['mood'], button: string) => Words} */
const going = (word, detail, mood, button) => ({word, detail, mood, button, active: true});
