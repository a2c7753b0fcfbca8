// SPDX-License-Identifier: MIT
// @ts-check
// The form of the settings. A value that cannot be is said so beside its field, and not taken.
import {RULES, problemOf, save, standard} from './settings.js';
import {make} from './elements.js';

/** @typedef {import('./settings.js').Settings} Settings */
/** @typedef {import('./info.js').Info} Info */
/** @typedef {{name: keyof Settings, label: string, help?: string, choices?: Record<string, string>}} Field */
/** @typedef {{title: string, fields: Field[]}} Group */

/** @type {Group[]} */
const GROUPS = [
  {
    title: 'Your devices',
    fields: [
      {name: 'microphone', label: 'Microphone'},
      {name: 'speaker', label: 'Output'},
      {name: 'volume', label: 'Volume of the model'},
      {name: 'echoCancellation', label: 'Echo cancellation', help: 'Keeps what the model says out of your microphone.'},
      {name: 'noiseSuppression', label: 'Noise suppression'},
      {name: 'autoGainControl', label: 'Automatic gain', help: 'Evens out whether you speak loudly or softly.'},
      {
        name: 'mostLagMs',
        label: 'Playback buffer (ms)',
        help: 'The most that may wait. Small: quick answers. Large: fewer gaps on a bad network.',
      },
    ],
  },
  {
    title: 'The model and the network',
    fields: [
      {name: 'textTemperature', label: 'Text temperature', help: '0: always the likeliest word.'},
      {name: 'textTopk', label: 'Text top k', help: 'Draws among so many; 0: all.'},
      {name: 'audioTemperature', label: 'Audio temperature'},
      {name: 'audioTopk', label: 'Audio top k'},
      {name: 'seed', label: 'Seed', help: 'The same seed and the same words give the same answer.'},
      {
        name: 'listen',
        label: 'Listen to',
        choices: {both: 'Voice and text', audio: 'Voice only', text: 'Text only'},
      },
      {
        name: 'encoding',
        label: 'Sound on the network',
        choices: {auto: 'Opus, or else PCM', opus: 'Opus (8 kB/s)', pcm: 'PCM (48 kB/s)'},
      },
    ],
  },
  {
    title: 'Page',
    fields: [
      {name: 'shortcuts', label: 'Keys Space and M, wherever the focus is'},
      {name: 'announce', label: 'Screen readers announce new lines of the transcript'},
    ],
  },
];

export class SettingsForm {
  /** @type {Map<keyof Settings, HTMLInputElement | HTMLSelectElement>} */
  #inputs = new Map();
  #settings;
  #changed;

  /**
   * @param {HTMLFormElement} form
   * @param {Settings} settings
   * @param {(settings: Settings, name: keyof Settings | null) => void} changed  null: all, back to the defaults.
   */
  constructor(form, settings, changed) {
    this.#settings = settings;
    this.#changed = changed;
    for (const [index, group] of GROUPS.entries()) form.append(this.#group(group, index === 0));
    const reset = make('button', {type: 'button', class: 'small'}, 'Back to the defaults');
    reset.addEventListener('click', () => this.#reset());
    form.append(make('div', {class: 'row'}, reset));
    form.addEventListener('submit', (event) => event.preventDefault());
    this.#show();
  }

  /** @param {Info} info  Its values stand in the empty fields. */
  showDefaults(info) {
    const {defaults} = info;
    /** @type {[keyof Settings, number | undefined][]} */
    const known = [
      ['textTemperature', defaults.text_temperature],
      ['textTopk', defaults.text_topk],
      ['audioTemperature', defaults.audio_temperature],
      ['audioTopk', defaults.audio_topk],
    ];
    for (const [name, value] of known) {
      const input = this.#inputs.get(name);
      if (!(input instanceof HTMLInputElement)) continue;
      input.placeholder = value === undefined ? "the model's own" : `${Math.round(value * 1000) / 1000} (the server's)`;
    }
  }

  /**
   * @param {'microphone' | 'speaker'} name
   * @param {MediaDeviceInfo[] | null} devices  null: cannot be chosen in this browser.
   */
  showDevices(name, devices) {
    const input = this.#inputs.get(name);
    if (!(input instanceof HTMLSelectElement)) return;
    const field = /** @type {HTMLElement} */ (input.closest('.field'));
    field.hidden = devices === null;
    const usable = (devices ?? []).filter((device) => device.deviceId !== '' && device.deviceId !== 'default');
    const kept = this.#settings[name];
    input.replaceChildren(make('option', {value: ''}, "The system's choice"));
    for (const [index, device] of usable.entries()) {
      input.append(make('option', {value: device.deviceId}, device.label || `Device ${index + 1}`));
    }
    if (kept !== '' && !usable.some((device) => device.deviceId === kept)) {
      input.append(make('option', {value: kept}, 'Chosen earlier, not there now'));
    }
    input.value = kept;
  }

  /**
   * @param {Group} group
   * @param {boolean} open
   */
  #group(group, open) {
    const [values, checks] = [make('div', {class: 'pair'}), make('div', {class: 'checks'})];
    for (const field of group.fields) {
      (RULES[field.name].kind === 'check' ? checks : values).append(this.#field(field));
    }
    const box = make('details', {}, make('summary', {}, group.title), values, checks);
    box.open = open;
    return box;
  }

  /** @param {Field} field */
  #field(field) {
    const rule = RULES[field.name];
    const id = `set-${field.name}`;
    const label = make('label', {for: id}, field.label);
    const help = make('p', {class: 'help', id: `${id}-help`}, field.help ?? '');
    const wrong = make('p', {class: 'wrong', id: `${id}-wrong`, 'aria-live': 'polite'});
    const input = this.#input(field, rule);
    input.id = id;
    input.setAttribute('aria-describedby', field.help ? `${help.id} ${wrong.id}` : wrong.id);
    input.addEventListener('change', () => this.#take(field.name, wrong));
    this.#inputs.set(field.name, input);
    if (rule.kind === 'check') return make('div', {class: 'field check'}, input, label, help, wrong);
    return make('div', {class: 'field'}, label, input, help, wrong);
  }

  /**
   * @param {Field} field
   * @param {import('./settings.js').Rule} rule
   */
  #input(field, rule) {
    if (rule.kind === 'check') return make('input', {type: 'checkbox'});
    if (rule.kind === 'range') {
      return make('input', {type: 'range', min: String(rule.least), max: String(rule.most), step: '5'});
    }
    if (rule.kind === 'number') {
      const random = field.name === 'seed' ? 'a new one each time' : '';
      const keys = rule.whole ? 'numeric' : 'decimal';
      return make('input', {type: 'text', inputmode: keys, autocomplete: 'off', placeholder: random});
    }
    const select = make('select', {});
    for (const [value, text] of Object.entries(field.choices ?? {'': "The system's choice"})) {
      select.append(make('option', {value}, text));
    }
    return select;
  }

  /**
   * @param {keyof Settings} name
   * @param {HTMLElement} wrong
   */
  #take(name, wrong) {
    const input = this.#inputs.get(name);
    if (!input) return;
    const value = valueOf(input, RULES[name]);
    const problem = problemOf(RULES[name], value);
    wrong.textContent = problem;
    input.setAttribute('aria-invalid', String(problem !== ''));
    if (problem !== '') return;
    this.#settings = {...this.#settings, [name]: value};
    save(this.#settings);
    this.#changed(this.#settings, name);
  }

  #reset() {
    this.#settings = standard();
    save(this.#settings);
    this.#show();
    this.#changed(this.#settings, null);
  }

  #show() {
    for (const [name, input] of this.#inputs) {
      const value = this.#settings[name];
      if (input instanceof HTMLInputElement && input.type === 'checkbox') input.checked = value === true;
      else input.value = value === null ? '' : String(value);
      input.setAttribute('aria-invalid', 'false');
      const wrong = document.getElementById(`${input.id}-wrong`);
      if (wrong) wrong.textContent = '';
    }
  }
}

/**
 * @param {HTMLInputElement | HTMLSelectElement} input
 * @param {import('./settings.js').Rule} rule
 * @returns {unknown}
 */
function valueOf(input, rule) {
  if (input instanceof HTMLInputElement && rule.kind === 'check') return input.checked;
  if (rule.kind === 'range') return Number(input.value);
  if (rule.kind !== 'number') return input.value;
  const text = input.value.trim().replace(',', '.');
  return text === '' ? null : Number(text);
}
