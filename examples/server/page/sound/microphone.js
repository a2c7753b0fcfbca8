// SPDX-License-Identifier: MIT
// @ts-check
// Asks for the microphone, and says plainly why there is none.

/** @typedef {import('./conversation.js').Note} Problem */

/**
 * @typedef {object} Surroundings What the answer depends on beside the error itself.
 * @property {boolean} secure Whether the page is in a secure context.
 * @property {boolean} forbidden Whether a policy of the server or of an enclosing page forbids microphones.
 * @property {'granted' | 'denied' | 'prompt' | 'unknown'} permission
 * @property {string} address Of the page.
 */

const ADVICE = Object.freeze({
  permission: 'Click the symbol in front of the page\'s address, allow the microphone there, and begin again.',
  system: 'In the system\'s privacy settings, allow this browser to use the microphone, and begin again.',
});

/**
 * @param {{name: string, message: string} | null} error Of getUserMedia; null: the browser does not have it.
 * @param {Surroundings} surroundings
 * @returns {Problem}
 */
export function explainMicrophone(error, surroundings) {
  if (!surroundings.secure) return insecure(surroundings.address);
  if (!error) {
    return {
      title: 'This browser cannot use a microphone',
      advice: 'Open the page in a current Chrome, Edge, Firefox or Safari, not inside another app.',
    };
  }
  switch (error.name) {
    case 'NotAllowedError':
    case 'SecurityError':
      return notAllowed(error.message, surroundings);
    case 'NotFoundError':
      return {title: 'No microphone was found', advice: 'Plug one in or switch it on, and begin again.'};
    case 'NotReadableError':
    case 'AbortError':
      return {
        title: 'The microphone cannot be used now',
        advice: 'Another program may be using it: end that one, or choose another microphone, and begin again.',
      };
    case 'OverconstrainedError':
      return {
        title: 'The chosen microphone is not there',
        advice: 'Plug it in, or choose another one, and begin again.',
      };
    default:
      return {title: 'The microphone could not be opened', advice: `The browser says: ${error.message || error.name}.`};
  }
}

/** @param {string} address @returns {Problem} */
function insecure(address) {
  const url = new URL(address);
  const port = url.port || '80';
  return {
    title: 'The microphone is not allowed on an unencrypted page',
    advice: 'Browsers give it to https:// pages and to this machine\'s own. Start moshi-server with --tls and open ' +
      `https://${url.host}, or let SSH bring the server to this machine: ` +
      `ssh -L ${port}:localhost:${port} ${url.hostname}, then open http://localhost:${port}.`,
  };
}

/** @param {string} message @param {Surroundings} surroundings @returns {Problem} */
function notAllowed(message, surroundings) {
  if (surroundings.forbidden) {
    return {
      title: 'A policy forbids the microphone on this page',
      advice: 'The page is embedded in another one, or sent through a proxy, that forbids it: open it by its own ' +
        'address, or allow the microphone in the Permissions-Policy there.',
    };
  }
  if (/system/i.test(message)) {
    return {title: 'The system does not let the browser use the microphone', advice: ADVICE.system};
  }
  if (/dismissed/i.test(message) || surroundings.permission === 'prompt') {
    return {
      title: 'The microphone was not allowed',
      advice: 'The browser\'s question was not answered with yes. Begin again, and allow the microphone.',
    };
  }
  return {title: 'The microphone is blocked for this page', advice: ADVICE.permission};
}

/** @returns {Promise<Surroundings>} */
async function lookAround() {
  /** @type {Surroundings['permission']} */
  let permission = 'unknown';
  try {
    permission = (await navigator.permissions.query({name: /** @type {PermissionName} */ ('microphone')})).state;
  } catch {
    // a browser that does not tell
  }
  const policy = document.permissionsPolicy ?? document.featurePolicy;
  const forbidden = policy ? !policy.allowsFeature('microphone') : false;
  return {secure: isSecureContext, forbidden, permission, address: location.href};
}

/**
 * @param {import('./conversation.js').Settings} settings
 * @returns {Promise<{stream: MediaStream} | {problem: Problem}>}
 */
export async function askForMicrophone(settings) {
  if (!navigator.mediaDevices?.getUserMedia) return {problem: explainMicrophone(null, await lookAround())};
  /** @type {MediaTrackConstraints} */
  const audio = {
    echoCancellation: settings.echoCancellation ?? true,
    noiseSuppression: settings.noiseSuppression ?? true,
    autoGainControl: settings.autoGainControl ?? true,
    channelCount: {ideal: 1},
  };
  if (settings.microphone) audio.deviceId = {exact: settings.microphone};
  try {
    return {stream: await navigator.mediaDevices.getUserMedia({audio})};
  } catch (error) {
    return {problem: explainMicrophone(/** @type {DOMException} */ (error), await lookAround())};
  }
}
