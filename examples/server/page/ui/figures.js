// SPDX-License-Identifier: MIT
// @ts-check
// Delays and losses, each with what it means.
import {byId, make} from './elements.js';

/** @typedef {import('../sound/conversation.js').Stats} Stats */
/** @typedef {{value: string, part?: number}} Shown  part: of the bound, 0 to 1. */
/** @typedef {{name: string, label: string, help: string, of: (stats: Stats) => Shown}} Figure */

const UNKNOWN = '–';

/** @param {number | null | undefined} value */
const ms = (value) => (value === null || value === undefined ? UNKNOWN : `${Math.round(value)} ms`);

/** @param {number} value */
const long = (value) => (value < 1000 ? ms(value) : `${(value / 1000).toFixed(1)} s`);

/** @param {{p50: number, p99: number} | null | undefined} value */
const spread = (value) => (value ? `${Math.round(value.p50)} / ${Math.round(value.p99)} ms` : UNKNOWN);

/** @type {Figure[]} */
const FIGURES = [
  {
    name: 'mouth-to-ear',
    label: 'Mouth to ear',
    help: 'An estimate of how long after you say something you hear the first sound that can answer it: microphone, ' +
      'network, model, playback buffer and loudspeaker together.',
    of: (stats) => ({value: stats.mouthToEarMs === null ? UNKNOWN : `about ${ms(stats.mouthToEarMs)}`}),
  },
  {
    name: 'answer',
    label: 'Answers, over the network',
    help: 'From sending 80 ms of your voice until its answer arrives. Half of the answers take at most the first ' +
      'time, 99 of 100 at most the second.',
    of: (stats) => ({value: spread(stats.answerMs)}),
  },
  {
    name: 'server',
    label: 'Of that, the server',
    help: 'The same two times without the network. The model keeps up as long as they stay well under 80 ms.',
    of: (stats) => ({value: spread(stats.server?.frame_delay_ms)}),
  },
  {
    name: 'network',
    label: 'Of that, the network',
    help: 'There and back, browser included: what is left of the usual answer without the server.',
    of: (stats) => {
      const server = stats.server?.frame_delay_ms;
      return {value: stats.answerMs && server ? ms(Math.max(0, stats.answerMs.p50 - server.p50)) : UNKNOWN};
    },
  },
  {
    name: 'devices',
    label: 'Microphone, loudspeaker',
    help: 'What the browser says that your devices take. Bluetooth headphones take long.',
    of: (stats) => ({value: `${ms(stats.captureMs)} / ${ms(stats.outputMs)}`}),
  },
  {
    name: 'buffer',
    label: 'Playback buffer',
    help: 'Sound that has arrived and waits to be played, which evens out the network, and its bound. Beyond that, ' +
      'silence is skipped first.',
    of: (stats) => ({
      value: `${Math.round(stats.bufferedMs)} of ${ms(stats.mostLagMs)}`,
      part: stats.bufferedMs / stats.mostLagMs,
    }),
  },
  {
    name: 'skipped',
    label: 'Skipped',
    help: 'What you did not hear of the model, so that the delay does not grow: silence, and sound.',
    of: (stats) => ({value: `${long(stats.skippedSilenceMs)} of silence, ${long(stats.droppedMs)} of sound`}),
  },
  {
    name: 'gaps',
    label: 'Gaps',
    help: 'How often nothing was there to be played because it came too late.',
    of: (stats) => ({value: String(stats.underruns)}),
  },
  {
    name: 'lost',
    label: 'Not heard by the model',
    help: 'Frames of 80 ms of your voice that came too late or too fast, of those that were sent.',
    of: (stats) => ({value: `${stats.droppedFrames} of ${stats.sentFrames} frames`}),
  },
];

export class Figures {
  /** @type {Map<string, {value: HTMLElement, bar: HTMLElement | null, help: HTMLElement}>} */
  #rows = new Map();

  constructor() {
    const list = byId('figures', HTMLElement);
    for (const figure of FIGURES) {
      const value = make('dd', {class: 'value', id: `figure-${figure.name}`}, UNKNOWN);
      const row = make('div', {class: 'figure'}, make('dt', {}, figure.label), value);
      const bar = figure.name === 'buffer' ? make('dd', {class: 'bar', 'aria-hidden': 'true'}) : null;
      if (bar) row.append(bar);
      const help = make('dd', {class: 'help'}, figure.help);
      row.append(help);
      list.append(row);
      this.#rows.set(figure.name, {value, bar, help});
    }
  }

  /** @param {boolean} parrot  Its answer is what was said two seconds ago. */
  setParrot(parrot) {
    const more = parrot ? " The parrot's own two seconds come on top." : '';
    const help = this.#rows.get('mouth-to-ear')?.help;
    if (help) help.textContent = FIGURES[0].help + more;
  }

  /** @param {Stats} stats */
  show(stats) {
    for (const figure of FIGURES) {
      const row = this.#rows.get(figure.name);
      const {value, part} = figure.of(stats);
      if (!row) continue;
      if (row.value.textContent !== value) row.value.textContent = value;
      row.bar?.style.setProperty('--level', String(Math.min(1, Math.max(0, part ?? 0))));
    }
  }
}
