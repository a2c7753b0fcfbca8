// SPDX-License-Identifier: MIT
// @ts-check
// What the user may set: kept in localStorage, and checked whenever it is read, since anything may stand there.

/**
 * @typedef {object} Settings
 * @property {number | null} textTemperature  null, here and below: as the server has it.
 * @property {number | null} textTopk
 * @property {number | null} audioTemperature
 * @property {number | null} audioTopk
 * @property {number | null} seed
 * @property {'both' | 'audio' | 'text'} listen
 * @property {'auto' | 'opus' | 'pcm'} encoding
 * @property {string} microphone  Empty: the browser's own choice.
 * @property {string} speaker
 * @property {boolean} echoCancellation
 * @property {boolean} noiseSuppression
 * @property {boolean} autoGainControl
 * @property {number} mostLagMs
 * @property {number} volume  In percent.
 * @property {boolean} shortcuts
 * @property {boolean} announce
 */

/**
 * @typedef {object} NumberRule
 * @property {'number'} kind
 * @property {number} least
 * @property {number} most
 * @property {boolean} whole
 * @property {boolean} empty  Whether it may be left empty.
 * @property {number | null} standard
 */
/** @typedef {{kind: 'choice', choices: string[], standard: string}} ChoiceRule */
/** @typedef {{kind: 'check', standard: boolean}} CheckRule */
/** @typedef {{kind: 'device', standard: string}} DeviceRule */
/** @typedef {{kind: 'range', least: number, most: number, standard: number}} RangeRule */
/** @typedef {NumberRule | RangeRule | ChoiceRule | CheckRule | DeviceRule} Rule */

/** @type {(least: number, most: number, whole: boolean) => NumberRule} */
const optional = (least, most, whole) => ({kind: 'number', least, most, whole, empty: true, standard: null});

/** @type {Record<keyof Settings, Rule>} */
export const RULES = {
  textTemperature: optional(0, 100, false),
  textTopk: optional(0, 1000000, true),
  audioTemperature: optional(0, 100, false),
  audioTopk: optional(0, 1000000, true),
  seed: optional(0, Number.MAX_SAFE_INTEGER, true),
  listen: {kind: 'choice', choices: ['both', 'audio', 'text'], standard: 'both'},
  encoding: {kind: 'choice', choices: ['auto', 'opus', 'pcm'], standard: 'auto'},
  microphone: {kind: 'device', standard: ''},
  speaker: {kind: 'device', standard: ''},
  echoCancellation: {kind: 'check', standard: true},
  noiseSuppression: {kind: 'check', standard: true},
  autoGainControl: {kind: 'check', standard: true},
  mostLagMs: {kind: 'number', least: 120, most: 1000, whole: true, empty: false, standard: 200},
  volume: {kind: 'range', least: 0, most: 100, standard: 100},
  shortcuts: {kind: 'check', standard: true},
  announce: {kind: 'check', standard: true},
};

const KEY = 'moshi-settings';

/**
 * The sentence that says what is wrong with a value, or nothing.
 * @param {Rule} rule
 * @param {unknown} value
 * @returns {string}
 */
export function problemOf(rule, value) {
  switch (rule.kind) {
    case 'number':
      if (value === null) return rule.empty ? '' : 'A number is needed here.';
      if (typeof value !== 'number' || !Number.isFinite(value)) return 'This is not a number.';
      if (rule.whole && !Number.isInteger(value)) return 'Only whole numbers.';
      if (value < rule.least || value > rule.most) return `From ${rule.least} to ${rule.most}.`;
      return '';
    case 'range':
      if (typeof value !== 'number' || !Number.isInteger(value)) return 'Only whole numbers.';
      return value >= rule.least && value <= rule.most ? '' : `From ${rule.least} to ${rule.most}.`;
    case 'choice':
      return typeof value === 'string' && rule.choices.includes(value) ? '' : 'There is no such choice.';
    case 'check':
      return typeof value === 'boolean' ? '' : 'Yes or no.';
    case 'device':
      return typeof value === 'string' && value.length <= 512 ? '' : 'There is no such device.';
  }
}

/** @returns {Settings} */
export function standard() {
  const all = Object.entries(RULES).map(([name, rule]) => [name, rule.standard]);
  return /** @type {Settings} */ (Object.fromEntries(all));
}

/**
 * Settings out of whatever was kept; what cannot be is as if it had never been set.
 * @param {unknown} kept
 * @returns {Settings}
 */
export function checked(kept) {
  /** @type {Record<string, unknown>} */
  const settings = {...standard()};
  if (typeof kept !== 'object' || kept === null) return standard();
  for (const [name, value] of Object.entries(kept)) {
    const rule = Object.hasOwn(RULES, name) ? RULES[/** @type {keyof Settings} */ (name)] : undefined;
    if (rule && problemOf(rule, value) === '') settings[name] = value;
  }
  return /** @type {Settings} */ (/** @type {unknown} */ (settings));
}

/** @returns {Settings} */
export function load() {
  try {
    return checked(JSON.parse(localStorage.getItem(KEY) ?? 'null'));
  } catch {
    return standard(); // storage is forbidden, or what stands there is not JSON
  }
}

/** @param {Settings} settings */
export function save(settings) {
  const changed = Object.entries(settings).filter(([name, value]) => {
    return value !== RULES[/** @type {keyof Settings} */ (name)].standard;
  });
  try {
    localStorage.setItem(KEY, JSON.stringify(Object.fromEntries(changed)));
  } catch {
    // storage is forbidden or full: the settings hold until the page is closed
  }
}

/**
 * What a conversation is begun with.
 * @param {Settings} settings
 * @param {string} token
 * @returns {import('../sound/conversation.js').Settings}
 */
export function forConversation(settings, token) {
  const sampling = {
    textTemperature: settings.textTemperature ?? undefined,
    textTopk: settings.textTopk ?? undefined,
    audioTemperature: settings.audioTemperature ?? undefined,
    audioTopk: settings.audioTopk ?? undefined,
    seed: settings.seed ?? undefined,
  };
  const {echoCancellation, noiseSuppression, autoGainControl, mostLagMs, encoding, listen} = settings;
  return {
    token: token || undefined,
    microphone: settings.microphone || undefined,
    speaker: settings.speaker || undefined,
    volume: settings.volume / 100,
    sampling,
    echoCancellation,
    noiseSuppression,
    autoGainControl,
    mostLagMs,
    encoding,
    listen,
  };
}
