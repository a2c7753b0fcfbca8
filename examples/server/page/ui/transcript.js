// SPDX-License-Identifier: MIT
// @ts-check
// What the model writes, as lines with times. It follows the newest line unless the reader has scrolled up.
import {byId, clock, make} from './elements.js';

const PAUSE_S = 1.5; // so long without text, and the next piece begins a line
const LONG = 240; // characters of a line, after which the next sentence begins another
const MOST_LINES = 2000; // on the page; a file has all
const TELL_S = 6; // so often a screen reader is told what is new of a line that does not end
const NEAR_PX = 48;

export class Transcript {
  announce = true;
  #box = byId('transcript', HTMLElement);
  #list = byId('lines', HTMLOListElement);
  #nothing = byId('nothing', HTMLElement);
  #said = byId('said', HTMLElement);
  #latest = byId('latest', HTMLButtonElement);
  /** @type {{text: string, row: HTMLLIElement, piece: HTMLElement} | null} */
  #line = null;
  #last = 0;
  /** Of the open line: how many characters were announced, and when. */
  #told = {length: 0, time: 0};
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  constructor() {
    this.#latest.addEventListener('click', () => {
      this.#box.scrollTop = this.#box.scrollHeight;
      this.#box.focus({preventScroll: true}); // the button is about to vanish
    });
    this.#box.addEventListener('scroll', () => this.#offerLatest(), {passive: true});
  }

  get empty() {
    return this.#list.childElementCount === 0;
  }

  /**
   * @param {string} piece  Joined as it comes; a word begins with a space.
   * @param {number} seconds  Since the conversation began.
   */
  add(piece, seconds) {
    if (this.#line && (seconds - this.#last > PAUSE_S || this.#sentenceIsLong(piece))) this.#close();
    if (this.#line && piece.startsWith(' ') && seconds - this.#told.time > TELL_S) this.#tell(seconds);
    this.#last = seconds;
    const follow = this.#atEnd();
    if (!this.#line) {
      if (piece.trim() === '') return;
      const text = make('span', {class: 'piece'});
      const time = make('time', {datetime: `PT${seconds.toFixed(2)}S`}, clock(seconds));
      const row = make('li', {class: 'open'}, time, text);
      this.#append(row);
      this.#line = {text: '', row, piece: text};
      this.#told = {length: 0, time: seconds};
    }
    this.#line.text = (this.#line.text + piece).trimStart();
    this.#line.piece.textContent = this.#line.text;
    if (follow) this.#box.scrollTop = this.#box.scrollHeight;
    this.#offerLatest();
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#close(), PAUSE_S * 1000);
  }

  /**
   * A line of the page's own: where a conversation begins or ends.
   * @param {string} text
   */
  note(text) {
    this.#close();
    const follow = this.#atEnd();
    this.#append(make('li', {class: 'note'}, text));
    if (follow) this.#box.scrollTop = this.#box.scrollHeight;
    this.#offerLatest();
  }

  clear() {
    this.#close();
    this.#list.replaceChildren();
    this.#said.replaceChildren();
    this.#nothing.hidden = false;
    this.#last = 0;
    this.#offerLatest();
  }

  /** @param {string} piece */
  #sentenceIsLong(piece) {
    const text = this.#line?.text ?? '';
    return text.length > LONG && piece.startsWith(' ') && (/[.!?…]$/.test(text) || text.length > 2 * LONG);
  }

  #close() {
    clearTimeout(this.#timer);
    if (!this.#line) return;
    this.#tell(this.#last);
    this.#line.row.classList.remove('open');
    this.#line = null;
  }

  /**
   * Announces what is new of the open line. Whole phrases: piece by piece no one could follow.
   * @param {number} seconds
   */
  #tell(seconds) {
    const fresh = this.#line?.text.slice(this.#told.length).trim() ?? '';
    this.#told = {length: this.#line?.text.length ?? 0, time: seconds};
    if (!this.announce || fresh === '') return;
    this.#said.append(make('p', {}, fresh));
    while (this.#said.childElementCount > 3) this.#said.firstElementChild?.remove();
  }

  /** @param {HTMLLIElement} row */
  #append(row) {
    this.#nothing.hidden = true;
    this.#list.append(row);
    while (this.#list.childElementCount > MOST_LINES) this.#list.firstElementChild?.remove();
  }

  #atEnd() {
    return this.#box.scrollHeight - this.#box.scrollTop - this.#box.clientHeight < NEAR_PX;
  }

  #offerLatest() {
    this.#latest.hidden = this.#atEnd();
  }
}
