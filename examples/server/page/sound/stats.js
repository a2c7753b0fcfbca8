// SPDX-License-Identifier: MIT
// @ts-check
// The figures of a conversation, put together from where they are measured.

/** A frame: its first sample waits so long until it is sent, its last one until it is played. */
const FRAME_MS = 80;
/** How far Opus looks ahead, on both ways. */
const LOOK_AHEAD_MS = Object.freeze({opus: 13, pcm: 0});

/** @param {number | null} seconds */
function inMs(seconds) {
  return seconds === null ? null : seconds * 1000;
}

/**
 * @param {'opus' | 'pcm'} encoding
 * @param {import('./sound_card.js').SoundCard} card
 * @param {import('./link.js').Link} link
 * @param {import('./jitter_buffer.js').BufferReport} buffer
 * @param {import('./protocol.js').ServerStats | null} server
 * @param {number} recordedSeconds
 * @returns {import('./conversation.js').Stats}
 */
export function statsOf(encoding, card, link, buffer, server, recordedSeconds) {
  const captureMs = inMs(card.captureLatency), outputMs = inMs(card.outputLatency);
  const answerMs = link.delays.figures;
  return {
    encoding,
    answerMs,
    bufferedMs: buffer.bufferedMs,
    targetMs: buffer.targetMs,
    mostLagMs: buffer.limitMs,
    skippedSilenceMs: buffer.skippedSilenceMs,
    droppedMs: buffer.droppedMs,
    underruns: buffer.underruns,
    captureMs,
    outputMs,
    mouthToEarMs: answerMs && FRAME_MS + LOOK_AHEAD_MS[encoding] + answerMs.p50 + buffer.waitMs + (captureMs ?? 0) +
      (outputMs ?? 0),
    sentFrames: link.delays.sentFrames,
    receivedFrames: link.delays.receivedFrames,
    unsentMs: link.unsentMs,
    droppedFrames: link.droppedFrames + (server?.dropped_frames ?? 0),
    server,
    recordedSeconds,
  };
}
