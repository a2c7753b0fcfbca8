// SPDX-License-Identifier: MIT
// @ts-check
// Keeps a phone's screen on while people talk, where the browser can: with the screen the microphone would go off.

/** @typedef {{release: () => Promise<void>}} Lock */

export class WakeLock {
  #wanted = false;
  /** @type {Lock | null} */
  #lock = null;

  constructor() {
    // the browser takes it away whenever the page is hidden
    document.addEventListener('visibilitychange', () => this.#take());
  }

  /** @param {boolean} wanted */
  want(wanted) {
    if (this.#wanted === wanted) return;
    this.#wanted = wanted;
    if (wanted) this.#take();
    else this.#release();
  }

  async #take() {
    if (!this.#wanted || document.visibilityState !== 'visible' || !('wakeLock' in navigator)) return;
    try {
      this.#release();
      const {wakeLock} = /** @type {{wakeLock: {request: (type: 'screen') => Promise<Lock>}}} */ (
        /** @type {unknown} */ (navigator)
      );
      const lock = await wakeLock.request('screen');
      const another = this.#lock; // of a request that was under way at the same time
      this.#lock = lock;
      another?.release().catch(() => {});
      if (!this.#wanted) this.#release();
    } catch {
      // refused (battery low, not allowed): the conversation goes on without it
    }
  }

  #release() {
    this.#lock?.release().catch(() => {});
    this.#lock = null;
  }
}
