// SPDX-License-Identifier: MIT
import assert from 'node:assert/strict';
import test from 'node:test';

import {OggOpusReader, OggOpusWriter, packetSamples} from '../../examples/server/page/sound/ogg.js';

/** Made with GStreamer's opusenc and oggmux: 11 packets of 20 ms, several in a page. */
const FOREIGN = Buffer.from(
  'T2dnUwACAAAAAAAAAAA7ci9IAAAAAMmhrhsBE09wdXNIZWFkAQE4AYC7AAAAAABPZ2dTAAAAAAAAAAAAADtyL0gBAAAAg7wNAAFNT3B1c1RhZ3' +
  'MeAAAARW5jb2RlZCB3aXRoIEdTdHJlYW1lciBvcHVzZW5jAQAAABoAAABERVNDUklQVElPTj1hdWRpb3Rlc3Qgd2F2ZQFPZ2dTAABACwAAAAAA' +
  'ADtyL0gCAAAAoFE0iwMOERJ4C/I0UB6EacEdh8UQaHgKe3In4UTqVfHwwNXd6VJgeAp7ecjJV8CiEiP672fzZMDgT2dnUwAAQBoAAAAAAAA7ci' +
  '9IAwAAAOeXmkIEEhISEngKe3nIyVfAohIj+u9n82TA4HgKe3nIyVfAohIj+u9n82TA4HgKe3nIyVfAohIj+u9n82TA4HgKe3nIyVfAohIj+u9n' +
  '82TA4E9nZ1MABLgmAAAAAAAAO3IvSAQAAABOgRqjBBISEhJ4Cnt5yMlXwKISI/rvZ/NkwOB4Cnt5yMlXwKISI/rvZ/NkwOB4Cnt5yMlXwKISI/' +
  'rvZ/NkwOB4Cnt5yMlXwKISI/rvZ/NkwOA=', 'base64');

const PACKET = Uint8Array.from([0x78, 1, 2, 3]);  // CELT, 20 ms

/** @param {Uint8Array[]} parts */
const join = (parts) => Uint8Array.from(parts.flatMap((part) => [...part]));

/** @param {number} count @param {(n: number) => Uint8Array} make */
function stream(count, make = (n) => Uint8Array.from([0x78, n])) {
  const writer = new OggOpusWriter();
  return Array.from({length: count}, (_, n) => writer.append(make(n)));
}

/** @param {Uint8Array} bytes @param {number} size */
function readInPieces(bytes, size) {
  const reader = new OggOpusReader();
  const packets = [];
  for (let at = 0; at < bytes.length; at += size) packets.push(...reader.append(bytes.subarray(at, at + size)));
  return {reader, packets};
}

test('durations of packets', () => {
  const cases = [
    [[0x00], 240], [[0x08], 480], [[0x10], 960], [[0x18], 1440], [[0x60], 240], [[0x68], 480], [[0x80], 60],
    [[0xf8], 480], [[0x69, 0], 960], [[0x1b, 2], 2880], [[0x1b, 3], 0], [[0x7b, 0], 0], [[0x7b], 0], [[], 0],
  ];
  for (const [bytes, samples] of cases) assert.equal(packetSamples(Uint8Array.from(bytes)), samples, `${bytes}`);
});

test('the writer\'s pages are as the protocol says', () => {
  const writer = new OggOpusWriter();
  const first = Buffer.from(writer.append(PACKET)), second = Buffer.from(writer.append(PACKET, 960));
  assert.equal(first.subarray(0, 4).toString(), 'OggS');
  assert.equal(first[5], 2, 'the first page begins the stream');
  const head = first.subarray(28, 47);
  assert.equal(head.subarray(0, 8).toString(), 'OpusHead');
  assert.deepEqual([head[8], head[9], head.readUInt16LE(10), head.readUInt32LE(12), head[18]], [1, 1, 3840, 48000, 0]);
  const tags = first.subarray(47);
  assert.equal(tags.subarray(28, 36).toString(), 'OpusTags');
  const page = first.subarray(first.lastIndexOf('OggS'));
  assert.deepEqual([page.readBigInt64LE(6), page.readUInt32LE(14), page.readUInt32LE(18), page[26], page[27]],
    [960n, 42, 2, 1, 4]);
  assert.deepEqual([second.readBigInt64LE(6), second.readUInt32LE(18)], [960n + 1920n, 3]);
});

test('checksums are those of Ogg', () => {
  const {reader, packets} = readInPieces(FOREIGN, FOREIGN.length);
  assert.equal(reader.bad, 0);
  assert.equal(packets.length, 11);
  assert.ok(packets.every(({packet, samples}) => samples === 480 && packet[0] === 0x78));
});

test('a stream that is cut anywhere', () => {
  const bytes = join(stream(9));
  for (const size of [1, 2, 7, 27, 28, 29, 100, 5000]) {
    const {reader, packets} = readInPieces(bytes, size);
    assert.deepEqual(packets.map(({packet}) => packet[1]), [0, 1, 2, 3, 4, 5, 6, 7, 8], `pieces of ${size}`);
    assert.equal(reader.bad, 0);
  }
  assert.equal(readInPieces(FOREIGN, 1).packets.length, 11);
});

test('packets of 255 bytes and more', () => {
  for (const length of [254, 255, 256, 510, 511, 1275, 60000]) {
    const bytes = join(stream(2, (n) => Uint8Array.from({length}, (_, at) => at === 0 ? 0x78 : (at + n) % 251)));
    const {packets} = readInPieces(bytes, 1000);
    assert.deepEqual(packets.map(({packet}) => packet.length), [length, length]);
    assert.equal(packets[1].packet[length - 1], length % 251);
  }
  assert.throws(() => stream(1, () => new Uint8Array(65025)), RangeError);
});

test('a packet that goes on in the next page', () => {
  // Lacing values that end in 255 leave the packet open; the writer makes no such pages, so they are made of its own.
  const pages = stream(3, (n) => Uint8Array.from({length: n === 0 ? 3 : n === 1 ? 510 : 20}, () => 0x78));
  const open = pages[1], rest = pages[2];
  const cut = Uint8Array.from([...open.subarray(0, 26), 2, 255, 255, ...open.subarray(30)]);
  rest[5] = 1;
  const {packets, reader} = readInPieces(join([pages[0], reseal(cut), reseal(rest)]), 100);
  assert.deepEqual(packets.map(({packet}) => packet.length), [3, 530]);
  assert.equal(reader.bad, 0);

  const lost = readInPieces(join([pages[0], reseal(rest)]), 100);
  assert.deepEqual(lost.packets.map(({packet}) => packet.length), [3], 'half a packet is not given');
  assert.equal(lost.reader.bad, 1);
});

test('garbage between pages, a broken page, a missing page', () => {
  const pages = stream(6);
  const broken = pages[2].slice();
  broken[broken.length - 1] ^= 1;
  const garbage = Uint8Array.from([0x4f, 0x67, 0x67, 0x53, ...new Uint8Array(22), 1, 20]);  // a page, as it seems
  const bytes = join([new Uint8Array(100), pages[0], garbage, pages[1], broken, pages[3], pages[5]]);
  for (const size of [1, 33, 10000]) {
    const {packets, reader} = readInPieces(bytes, size);
    assert.deepEqual(packets.map(({packet}) => packet[1]), [0, 1, 3, 5]);
    assert.equal(reader.bad, 4);  // what looked like a page, the broken one, and two gaps
    assert.equal(reader.problem, '');
  }
});

test('a further stream takes the place of the one before', () => {
  const {packets, reader} = readInPieces(join([...stream(3), ...stream(2), FOREIGN]), 50);
  assert.equal(packets.length, 3 + 2 + 11);
  assert.equal(reader.bad, 0);
});

test('what is not Ogg Opus', () => {
  const noise = new OggOpusReader();
  assert.deepEqual(noise.append(new Uint8Array(65535).fill(0x4f)), []);
  noise.append(new Uint8Array(10));
  assert.match(noise.problem, /not Ogg/);
  assert.deepEqual(noise.append(stream(1)[0]), [], 'nothing else is taken');

  const page = stream(1)[0].slice(0, 47);
  page[28] = 0x56;
  const vorbis = new OggOpusReader();
  vorbis.append(reseal(page));
  assert.match(vorbis.problem, /not Opus/);
});

test('any bytes at all are survived', () => {
  let state = 1;
  const random = () => (state = (state * 1103515245 + 12345) % 2147483648) / 2147483648;
  const good = join(stream(40));
  for (let round = 0; round < 200; ++round) {
    const bytes = good.slice();
    for (let change = 0; change < 20; ++change) bytes[Math.floor(random() * bytes.length)] = Math.floor(random() * 256);
    const {packets} = readInPieces(bytes, 1 + Math.floor(random() * 200));
    assert.ok(packets.length <= 40);
  }
});

/** The page with the checksum that it should have, computed bit by bit. @param {Uint8Array} page */
function reseal(page) {
  const sealed = Buffer.from(page);
  sealed.writeUInt32LE(0, 22);
  let crc = 0;
  for (const byte of sealed) {
    crc ^= byte << 24;
    for (let bit = 0; bit < 8; ++bit) crc = crc & 0x80000000 ? (crc << 1) ^ 0x04c11db7 : crc << 1;
  }
  sealed.writeUInt32LE(crc >>> 0, 22);
  return Uint8Array.from(sealed);
}
