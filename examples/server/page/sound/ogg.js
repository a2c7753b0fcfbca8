// SPDX-License-Identifier: MIT
// @ts-check
// Ogg Opus as the protocol has it (docs/protocol.md, "Audio"): cut anywhere, granule positions not read.

const SERIAL = 42;
const PRE_SKIP = 3840;
const INPUT_RATE = 48000;
/** Granule positions count at 48 kHz; all else here counts samples at 24 kHz. */
const GRANULES_PER_SAMPLE = 2;
const HEADER_BYTES = 27;
const MOST_SEGMENTS = 255;
/** Most that a packet may last (RFC 6716): 120 ms at 24 kHz. */
const MOST_SAMPLES = 2880;
/** Longer than any page: where nothing was found in as much, nothing will be. */
const MOST_SEARCH = 65536;
const FLAG = Object.freeze({continued: 1, first: 2});

const CRC_TABLE = Uint32Array.from({length: 256}, (_, byte) => {
  let value = byte << 24;
  for (let bit = 0; bit < 8; ++bit) value = (value << 1) ^ (value & 0x80000000 ? 0x04c11db7 : 0);
  return value >>> 0;
});

/**
 * Of a page whose checksum field counts as zero.
 * @param {Uint8Array} page
 */
function checksum(page) {
  let crc = 0;
  for (let n = 0; n < page.length; ++n) {
    const byte = n >= 22 && n < 26 ? 0 : page[n];
    crc = (crc << 8) ^ CRC_TABLE[(crc >>> 24) ^ byte];
  }
  return crc >>> 0;
}

/** @param {Uint8Array} bytes */
function viewOf(bytes) {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** @param {Uint8Array} bytes @param {string} text */
function beginsWith(bytes, text) {
  if (bytes.length < text.length) return false;
  for (let n = 0; n < text.length; ++n) {
    if (bytes[n] !== text.charCodeAt(n)) return false;
  }
  return true;
}

/** @param {Uint8Array[]} parts @returns {Uint8Array} */
function join(parts) {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/**
 * Duration of an Opus packet in samples at 24 kHz (RFC 6716, section 3); 0 if it is none.
 * @param {Uint8Array} packet
 */
export function packetSamples(packet) {
  if (packet.length === 0) return 0;
  const config = packet[0] >> 3;
  const inFrame = config < 12 ? [240, 480, 960, 1440][config & 3] :  // SILK
    config < 16 ? [240, 480][config & 1] :  // hybrid
    [60, 120, 240, 480][config & 3];  // CELT
  const code = packet[0] & 3;
  if (code === 3 && packet.length < 2) return 0;
  const frames = code === 0 ? 1 : code < 3 ? 2 : packet[1] & 63;
  const samples = frames * inFrame;
  return samples > MOST_SAMPLES ? 0 : samples;
}

/** Makes pages, one packet in each, with the reference's serial number, head and granule positions. */
export class OggOpusWriter {
  #granule = 0n;
  #number = 0;

  /**
   * The packet's page; before the first one, those of OpusHead and OpusTags.
   * @param {Uint8Array} packet At most 65024 bytes.
   * @param {number} [samples] At 24 kHz.
   * @returns {Uint8Array}
   */
  append(packet, samples = packetSamples(packet)) {
    const pages = this.#number === 0 ? [this.#page(opusHead(), FLAG.first), this.#page(opusTags(), 0)] : [];
    this.#granule += BigInt(samples * GRANULES_PER_SAMPLE);
    pages.push(this.#page(packet, 0));
    return join(pages);
  }

  /** @param {Uint8Array} packet @param {number} flags */
  #page(packet, flags) {
    const segments = Math.floor(packet.length / 255) + 1;
    if (segments > MOST_SEGMENTS) throw new RangeError(`a packet of ${packet.length} bytes does not fit into a page`);
    const page = new Uint8Array(HEADER_BYTES + segments + packet.length);
    const view = viewOf(page);
    page.set([0x4f, 0x67, 0x67, 0x53, 0, flags]);  // OggS, version 0
    view.setBigInt64(6, this.#granule, true);
    view.setUint32(14, SERIAL, true);
    view.setUint32(18, this.#number++, true);
    page[26] = segments;
    page.fill(255, HEADER_BYTES, HEADER_BYTES + segments - 1);
    page[HEADER_BYTES + segments - 1] = packet.length % 255;
    page.set(packet, HEADER_BYTES + segments);
    view.setUint32(22, checksum(page), true);
    return page;
  }
}

function opusHead() {
  const head = new Uint8Array(19);
  head.set(new TextEncoder().encode('OpusHead'));
  head.set([1, 1], 8);  // version, channels
  viewOf(head).setUint16(10, PRE_SKIP, true);
  viewOf(head).setUint32(12, INPUT_RATE, true);
  return head;
}

function opusTags() {
  const vendor = new TextEncoder().encode('gst-moshi');
  const tags = new Uint8Array(8 + 4 + vendor.length + 4);
  tags.set(new TextEncoder().encode('OpusTags'));
  viewOf(tags).setUint32(8, vendor.length, true);
  tags.set(vendor, 12);
  return tags;
}

/** @typedef {{packet: Uint8Array, samples: number}} OpusPacket  A copy, and its duration at 24 kHz. */

/**
 * Takes a stream's bytes as they come and gives its Opus packets. Never throws; whatever comes is skipped until it is a
 * page again. Holds at most one page that is not complete, and one packet.
 */
export class OggOpusReader {
  /** Why the stream can never be Ogg Opus, in a sentence; then nothing else is taken. */
  problem = '';
  /** Packets that are not Opus, pages with a wrong checksum or missing ones. */
  bad = 0;

  #held = new Uint8Array(0);
  #searched = 0;
  #begun = false;
  #serial = 0;
  #nextNumber = 0;
  /** @type {Uint8Array[]} The packet that goes on in the next page. */
  #parts = [];

  /**
   * @param {Uint8Array} bytes
   * @returns {OpusPacket[]} The packets of sound that have become complete.
   */
  append(bytes) {
    /** @type {OpusPacket[]} */
    const packets = [];
    if (this.problem) return packets;
    this.#held = this.#held.length > 0 ? join([this.#held, bytes]) : Uint8Array.from(bytes);
    let at = 0;
    while (!this.problem) {
      const found = this.#find(at);
      if (!this.#begun) this.#searched += found - at;
      at = found;
      const length = this.#pageLength(at);
      if (length === 0) break;
      const page = this.#held.subarray(at, at + length);
      if (viewOf(page).getUint32(22, true) !== checksum(page)) {
        ++this.bad;
        ++at;  // the capture pattern was not one, or its page is broken: look right behind it
        if (!this.#begun) ++this.#searched;
        continue;
      }
      at += length;
      this.#read(page, packets);
    }
    this.#held = this.#held.slice(at);
    if (!this.#begun && this.#searched >= MOST_SEARCH) this.problem = 'What came is not Ogg.';
    return packets;
  }

  /**
   * Where the next capture pattern begins, or could begin once more has come.
   * @param {number} from
   */
  #find(from) {
    const held = this.#held;
    for (let at = held.indexOf(0x4f, from); at >= 0; at = held.indexOf(0x4f, at + 1)) {
      const rest = held.subarray(at, at + 4);
      if (beginsWith(rest, 'OggS'.slice(0, rest.length))) return at;
    }
    return held.length;
  }

  /**
   * 0: not there yet.
   * @param {number} at
   */
  #pageLength(at) {
    const left = this.#held.length - at;
    if (left < HEADER_BYTES) return 0;
    const segments = this.#held[at + 26];
    if (left < HEADER_BYTES + segments) return 0;
    let length = HEADER_BYTES + segments;
    for (let n = 0; n < segments; ++n) length += this.#held[at + HEADER_BYTES + n];
    return left < length ? 0 : length;
  }

  /** @param {Uint8Array} page @param {OpusPacket[]} packets */
  #read(page, packets) {
    const view = viewOf(page);
    const flags = page[5], serial = view.getUint32(14, true), number = view.getUint32(18, true);
    const segments = page[26];
    let at = HEADER_BYTES + segments;
    if (flags & FLAG.first) {
      const body = page.subarray(at);
      if (!beginsWith(body, 'OpusHead')) {
        if (!this.#begun) this.problem = 'What came is Ogg, but not Opus.';
        return;
      }
      this.#begun = true;
      this.#serial = serial;
      this.#nextNumber = number;
      this.#parts = [];
    }
    if (!this.#begun || serial !== this.#serial) return;
    if (number !== this.#nextNumber) {
      ++this.bad;
      this.#parts = [];
    }
    this.#nextNumber = (number + 1) >>> 0;
    let skipping = Boolean(flags & FLAG.continued) && this.#parts.length === 0;
    if (!(flags & FLAG.continued)) this.#parts = [];
    let packet = at;
    for (let n = 0; n < segments; ++n) {
      const length = page[HEADER_BYTES + n];
      at += length;
      if (length === 255) continue;
      const whole = join([...this.#parts, page.subarray(packet, at)]);
      this.#parts = [];
      packet = at;
      if (!skipping) this.#give(whole, packets);
      skipping = false;
    }
    if (packet < at && !skipping) this.#keep(page.slice(packet, at));
  }

  /** @param {Uint8Array} part */
  #keep(part) {
    this.#parts.push(part);
    const bytes = this.#parts.reduce((sum, each) => sum + each.length, 0);
    if (bytes <= MOST_SEARCH) return;
    ++this.bad;  // no packet of sound is that long
    this.#parts = [];
  }

  /** @param {Uint8Array} packet @param {OpusPacket[]} packets */
  #give(packet, packets) {
    if (beginsWith(packet, 'OpusHead') || beginsWith(packet, 'OpusTags')) return;
    const samples = packetSamples(packet);
    if (samples === 0) {
      ++this.bad;
      return;
    }
    packets.push({packet, samples});
  }
}
