// SPDX-License-Identifier: MIT
// @ts-check
// Microphones and loudspeakers to choose from. Their names are told once the microphone has been allowed.

/** @typedef {{microphones: MediaDeviceInfo[] | null, speakers: MediaDeviceInfo[] | null}} Devices */

/** @returns {Promise<Devices>} Null: cannot be chosen in this browser. */
export async function listDevices() {
  const media = navigator.mediaDevices;
  if (!media?.enumerateDevices) return {microphones: null, speakers: null};
  const all = await media.enumerateDevices().catch(() => []);
  const of = (/** @type {MediaDeviceKind} */ kind) => all.filter((device) => device.kind === kind);
  const canChoose = typeof AudioContext === 'function' && 'setSinkId' in AudioContext.prototype;
  return {microphones: of('audioinput'), speakers: canChoose ? of('audiooutput') : null};
}
