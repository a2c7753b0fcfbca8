// SPDX-License-Identifier: MIT
// @ts-check
// The page: buttons and keys lead to the conversation, and what the conversation tells is shown.
import {Conversation} from './sound/conversation.js';
import {explainMicrophone} from './sound/microphone.js';
import {listDevices} from './ui/devices.js';
import {byId, clock, download} from './ui/elements.js';
import {Figures} from './ui/figures.js';
import {askInfo, givesToken, isParrot, keepToken, sentenceOf, takeToken} from './ui/info.js';
import {forConversation, load} from './ui/settings.js';
import {SettingsForm} from './ui/settings_form.js';
import {Transcript} from './ui/transcript.js';
import {WakeLock} from './ui/wake_lock.js';
import {Waves} from './ui/waves.js';
import {wordsOf} from './ui/words.js';

/** @typedef {import('./sound/conversation.js').State} State */
/** @typedef {import('./ui/info.js').Answer} Answer */

const ASK_AGAIN_MS = 3000;
const TITLE = document.title;

class Page {
  #talk = new Conversation();
  #transcript = new Transcript();
  #figures = new Figures();
  #waves = new Waves();
  #wakeLock = new WakeLock();
  #settings = load();
  #token = takeToken();
  #form = new SettingsForm(byId('settings', HTMLFormElement), this.#settings, (settings, name) => {
    this.#take(settings, name);
  });
  #stage = byId('stage', HTMLElement);
  #word = byId('word', HTMLElement);
  #count = byId('count', HTMLElement);
  #detail = byId('detail', HTMLElement);
  #button = byId('talk', HTMLButtonElement);
  #label = byId('talk-label', HTMLElement);
  #mute = byId('mute', HTMLButtonElement);
  #saveSound = byId('save-sound', HTMLButtonElement);
  #saveText = byId('save-text', HTMLButtonElement);
  #clear = byId('clear', HTMLButtonElement);
  #tokenForm = byId('token-form', HTMLFormElement);
  #note = byId('note', HTMLElement);
  #resume = byId('resume', HTMLButtonElement);
  /** The time that the clock beside the state counts from, or to. */
  #zero = 0;
  #talked = false;
  #asked = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #again;

  start() {
    this.#listen();
    this.#listenToKeys();
    this.#take(this.#settings, null);
    setInterval(() => this.#showCount(), 500);
    navigator.mediaDevices?.addEventListener?.('devicechange', () => this.#showDevices());
    addEventListener('pagehide', () => this.#talk.close());
    addEventListener('hashchange', () => {
      if (!givesToken()) return; // a link within the page
      this.#token = takeToken();
      this.#ask();
    });
    this.#showDevices();
    if (isSecureContext) this.#ask();
    else this.#sayInsecure();
  }

  /** Before anyone presses a button that cannot work. */
  #sayInsecure() {
    const surroundings = {secure: false, forbidden: false, permission: /** @type {const} */ ('unknown')};
    const {title, advice} = explainMicrophone(null, {...surroundings, address: location.href});
    byId('model', HTMLElement).textContent = '';
    this.#showWords({...wordsOf({name: 'idle'}), word: title, detail: advice, mood: 'bad'});
  }

  #listen() {
    /** @type {<T>(name: string, handle: (detail: T) => void) => void} */
    const on = (name, handle) => {
      this.#talk.addEventListener(name, (event) => handle(/** @type {CustomEvent} */ (event).detail));
    };
    on('state', (/** @type {State} */ state) => this.#show(state));
    on('text', (/** @type {import('./sound/conversation.js').Text} */ {text, time}) => {
      this.#transcript.add(text, time);
      this.#offerSaves();
    });
    on('levels', (/** @type {import('./sound/conversation.js').Levels} */ levels) => this.#waves.showLevels(levels));
    on('stats', (/** @type {import('./sound/conversation.js').Stats} */ stats) => {
      if (!document.hidden) this.#figures.show(stats);
    });
    on('note', (/** @type {import('./sound/conversation.js').Note | null} */ note) => this.#showNote(note));

    this.#button.addEventListener('click', (event) => {
      if (event.detail < 2) this.#press(); // the second of a double click would undo the first
    });
    this.#mute.addEventListener('click', () => this.#toggleMute());
    this.#resume.addEventListener('click', () => this.#talk.resume());
    this.#saveSound.addEventListener('click', () => this.#save('wav', this.#talk.wav()));
    this.#saveText.addEventListener('click', () => {
      this.#save('txt', new Blob([this.#talk.transcript()], {type: 'text/plain;charset=utf-8'}));
    });
    this.#clear.addEventListener('click', () => {
      this.#talk.clear();
      this.#transcript.clear();
      byId('transcript', HTMLElement).focus({preventScroll: true}); // the button is about to be disabled
      this.#offerSaves();
    });
    this.#tokenForm.addEventListener('submit', (event) => {
      event.preventDefault();
      this.#token = byId('token', HTMLInputElement).value.trim();
      keepToken(this.#token);
      this.#ask();
    });
  }

  /** Space and Enter where nothing else would take them, and M: so that no one has to find a button first. */
  #listenToKeys() {
    document.addEventListener('keydown', (event) => {
      if (!this.#settings.shortcuts || event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
      const target = event.target instanceof Element ? event.target : document.body;
      if (target.closest('input, select, textarea')) return;
      const free = !target.closest('button, a, summary, #transcript');
      if ((event.key === ' ' || event.key === 'Enter') && free && !this.#button.disabled) {
        event.preventDefault();
        this.#press();
      } else if (event.key.toLowerCase() === 'm' && !this.#mute.hidden) {
        event.preventDefault();
        this.#toggleMute();
      }
    });
  }

  /** Asks the server who it is, until it answers. */
  async #ask() {
    clearTimeout(this.#again);
    const number = ++this.#asked;
    const answer = await askInfo(this.#token);
    if (number !== this.#asked) return; // asked again meanwhile
    if (wordsOf(this.#talk.state).active) return; // a conversation says more
    this.#showAnswer(answer);
    if ('again' in answer && answer.again) this.#again = setTimeout(() => this.#ask(), ASK_AGAIN_MS);
  }

  /** @param {Answer} answer */
  #showAnswer(answer) {
    this.#button.disabled = !('info' in answer);
    if (!('token' in answer)) this.#hide(this.#tokenForm);
    else this.#tokenForm.hidden = false;
    if ('info' in answer) {
      const {info} = answer;
      byId('model', HTMLElement).textContent = sentenceOf(info);
      byId('version', HTMLElement).textContent = info.version ? `moshi-server ${info.version}` : '';
      this.#form.showDefaults(info);
      this.#figures.setParrot(isParrot(info));
      this.#showWords({...wordsOf(this.#talk.state), ...(this.#talk.state.name === 'idle' ? fullness(info) : {})});
      return;
    }
    byId('model', HTMLElement).textContent = '';
    if ('token' in answer) {
      const wrong = answer.token === 'wrong';
      const word = wrong ? 'That token is not right' : 'This server wants an access token';
      this.#showWords({...wordsOf({name: 'idle'}), word, detail: 'Enter it below.', mood: wrong ? 'bad' : 'busy'});
      byId('token', HTMLInputElement).focus({preventScroll: true});
    } else {
      const {title, advice, again} = answer;
      this.#showWords({...wordsOf({name: 'idle'}), word: title, detail: advice, mood: again ? 'busy' : 'bad'});
    }
  }

  #press() {
    if (wordsOf(this.#talk.state).active) {
      this.#talk.close();
      return;
    }
    clearTimeout(this.#again);
    this.#talked = false;
    this.#talk.open(forConversation(this.#settings, this.#token));
  }

  #toggleMute() {
    const muted = !this.#talk.muted;
    this.#talk.mute(muted);
    this.#mute.setAttribute('aria-pressed', String(muted));
    this.#showWords(wordsOf(this.#talk.state, muted));
  }

  /** @param {State} state */
  #show(state) {
    const words = wordsOf(state, this.#talk.muted);
    this.#showWords(words);
    document.title = words.active ? `${words.word} – ${TITLE}` : TITLE;
    const talking = state.name === 'talking';
    this.#waves.follow(talking ? this.#talk.analysers : null);
    this.#wakeLock.want(talking || state.name === 'waiting' || state.name === 'reconnecting');
    if (!words.active || state.name === 'asking') this.#hide(this.#mute);
    else this.#mute.hidden = false;
    if (state.name === 'asking' || state.name === 'ended') this.#showNote(null);
    if (talking) {
      this.#zero = performance.now();
      this.#talked = true;
      this.#showDevices(); // now they have names
      this.#transcript.note(`The conversation begins, ${new Date().toLocaleTimeString()}`);
    } else if (state.name === 'reconnecting') {
      this.#zero = performance.now() + state.inMs;
      if (this.#talked) this.#transcript.note('The connection is lost');
      this.#talked = false;
    } else if (state.name === 'ended') {
      this.#ended(state);
    }
    this.#showCount();
    this.#offerSaves();
  }

  /** @param {import('./sound/conversation.js').Ended} state */
  #ended(state) {
    if (this.#talked) this.#transcript.note(state.title);
    this.#talked = false;
    this.#waves.rest();
    this.#talk.mute(false);
    this.#mute.setAttribute('aria-pressed', 'false');
    if (state.reason === 'token') this.#ask();
  }

  /** @param {import('./ui/words.js').Words} words */
  #showWords(words) {
    this.#stage.dataset.mood = words.mood;
    setText(this.#word, words.word);
    setText(this.#detail, words.detail);
    setText(this.#label, words.button);
    this.#button.classList.toggle('active', words.active);
  }

  /**
   * The focus must not be lost with what has it.
   * @param {HTMLElement} element
   */
  #hide(element) {
    if (element.contains(document.activeElement)) this.#button.focus({preventScroll: true});
    element.hidden = true;
  }

  /** How long the conversation goes on, or how soon the next attempt is. Not announced: it would never be quiet. */
  #showCount() {
    const {state} = this.#talk;
    const seconds = (performance.now() - this.#zero) / 1000;
    let text = '';
    if (state.name === 'talking') text = clock(seconds);
    if (state.name === 'reconnecting') text = seconds < 0 ? `in ${Math.ceil(-seconds)} s` : 'now';
    setText(this.#count, text);
  }

  /** @param {import('./sound/conversation.js').Note | null} note */
  #showNote(note) {
    this.#note.classList.toggle('shown', note !== null);
    this.#resume.hidden = !note?.resume;
    setText(byId('note-text', HTMLElement), note ? `${note.title}. ${note.advice}`.trim() : '');
  }

  async #showDevices() {
    const {microphones, speakers} = await listDevices();
    this.#form.showDevices('microphone', microphones);
    this.#form.showDevices('speaker', speakers);
  }

  /**
   * @param {import('./ui/settings.js').Settings} settings
   * @param {string | null} name  Of the one that was changed; null: all.
   */
  #take(settings, name) {
    this.#settings = settings;
    this.#transcript.announce = settings.announce;
    byId('keys', HTMLElement).hidden = !settings.shortcuts;
    this.#talk.setVolume(settings.volume / 100);
    this.#talk.setMostLag(settings.mostLagMs);
    if (name === null || name === 'speaker') this.#talk.setSpeaker(settings.speaker);
  }

  #offerSaves() {
    const some = !this.#transcript.empty;
    this.#saveSound.disabled = !some;
    this.#saveText.disabled = !some;
    this.#clear.disabled = !some;
  }

  /**
   * @param {string} ending
   * @param {Blob | null} blob
   */
  #save(ending, blob) {
    if (!blob) {
      this.#showNote({title: 'Nothing has been recorded yet', advice: ''});
      return;
    }
    const time = new Date(Date.now() - new Date().getTimezoneOffset() * 60000).toISOString();
    download(blob, `moshi-${time.slice(0, 19).replace(/[:T]/g, '-')}.${ending}`);
  }
}

/**
 * Leaves text alone that is there already: setting it anew would announce it anew.
 * @param {HTMLElement} element
 * @param {string} text
 */
function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** @param {import('./ui/info.js').Info} info */
function fullness(info) {
  const {sessions} = info;
  if (!sessions || sessions.talking < sessions.places) return {};
  const line = sessions.waiting > 0 ? `, and ${sessions.waiting} wait` : '';
  return {detail: `All ${sessions.places} places are taken at the moment${line}. You can wait in line.`};
}

new Page().start();
document.documentElement.dataset.started = ''; // old.js says so where it is missing
