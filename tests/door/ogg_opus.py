# SPDX-License-Identifier: MIT
"""Ogg pages and Opus packets in plain Python, as docs/protocol.md has them: a writer, a reader, packets of speech."""

import functools
import pathlib
import struct
import subprocess
import tempfile

import door

RATE = 24000
FRAME = 1920
SERIAL = 42
FIRST, LAST, CONTINUED = 2, 4, 1  # bits of a page's header


def _crc_table():
    table = []
    for byte in range(256):
        value = byte << 24
        for _ in range(8):
            value = (value << 1) ^ (0x04C11DB7 if value & 0x80000000 else 0)
        table.append(value & 0xFFFFFFFF)
    return table


_TABLE = _crc_table()


def checksum(data):
    value = 0
    for byte in data:
        value = (value << 8 & 0xFFFFFF00) ^ _TABLE[value >> 24 ^ byte]
    return value


def page(packets, number, granule=0, flags=0, serial=SERIAL, complete=True):
    """One page. `complete` False: the last packet goes on in the next page; it must fill its segments then."""
    lacing = b""
    for index, packet in enumerate(packets):
        full, rest = divmod(len(packet), 255)
        lacing += b"\xff" * full
        if complete or index + 1 < len(packets):
            lacing += bytes([rest])
        else:
            assert rest == 0, len(packet)
    assert len(lacing) <= 255, len(lacing)
    header = struct.pack("<4sBBqIIIB", b"OggS", 0, flags, granule, serial, number, 0, len(lacing))
    data = header + lacing + b"".join(packets)
    return data[:22] + struct.pack("<I", checksum(data)) + data[26:]


def opus_head(channels=1, skip=3840, version=1):
    return b"OpusHead" + struct.pack("<BBHIhB", version, channels, skip, 48000, 0, 0)


def opus_tags():
    return b"OpusTags" + struct.pack("<I4sI", 4, b"test", 0)


def packet_samples(packet):
    """Duration at 24 kHz of an Opus packet; 0 if it is none (RFC 6716, section 3.1)."""
    if not packet:
        return 0
    config, code = packet[0] >> 3, packet[0] & 3
    if config < 12:
        samples = (240, 480, 960, 1440)[config % 4]
    elif config < 16:
        samples = (240, 480)[config % 2]
    else:
        samples = (60, 120, 240, 480)[config % 4]
    if code == 3 and len(packet) < 2:
        return 0
    samples *= (1, 2, 2, packet[1] & 63 if code == 3 else 0)[code]
    return samples if samples <= 2880 else 0


def join_packets(packets):
    """Packets of one frame each and of one kind as one packet (code 3, each frame with its length)."""
    (toc,) = {packet[0] for packet in packets}
    assert toc & 3 == 0
    data = bytes([toc | 3, 0x80 | len(packets)])
    for packet in packets[:-1]:
        length = len(packet) - 1
        data += bytes([length] if length < 252 else [252 + length % 4, (length - 252) // 4])
    return data + b"".join(packet[1:] for packet in packets)


def packets_in(data):
    """Packets of sound that are complete in the beginning of a stream."""
    return Reader().append(data)


class Writer:
    """A stream, one packet in a page; `skip`: samples at 48 kHz that its head tells a player to leave out."""

    def __init__(self, serial=SERIAL, channels=1, skip=3840):
        self.serial, self.head = serial, opus_head(channels, skip)
        self.number = self.granule = 0

    def pages(self, *packets):
        out = b""
        if self.number == 0:
            out += page([self.head], 0, flags=FIRST, serial=self.serial)
            out += page([opus_tags()], 1, serial=self.serial)
            self.number = 2
        for packet in packets:
            self.granule += packet_samples(packet) * 48000 // RATE
            out += page([packet], self.number, self.granule, serial=self.serial)
            self.number += 1
        return out


class Reader:
    """Takes a stream's bytes; gives its packets. What is not as the server must write it is an AssertionError."""

    def __init__(self, strict=True):
        self.strict = strict
        self.rest = self.partial = b""
        self.headers, self.packets = [], []  # all so far
        self.pages = []  # (number, granule, flags, packets) of each

    def append(self, data):
        """The packets of sound that are complete now."""
        self.rest += data
        new = []
        while len(self.rest) >= 27:
            assert self.rest[:4] == b"OggS", self.rest[:8]
            _, version, flags, granule, serial, number, crc, count = struct.unpack("<4sBBqIIIB", self.rest[:27])
            lacing = self.rest[27 : 27 + count]
            size = 27 + count + sum(lacing)
            if len(lacing) < count or len(self.rest) < size:
                break
            whole, self.rest = self.rest[:size], self.rest[size:]
            assert version == 0 and checksum(whole[:22] + bytes(4) + whole[26:]) == crc, "a page with a wrong checksum"
            if self.strict:
                assert serial == SERIAL and number == len(self.pages), (serial, number, len(self.pages))
            packets = self._packets(lacing, whole[27 + count :])
            self.pages.append((number, granule, flags, packets))
            new += [packet for packet in packets if packet[:8] not in (b"OpusHead", b"OpusTags")]
            self.headers += [packet for packet in packets if packet[:8] in (b"OpusHead", b"OpusTags")]
        self.packets += new
        return new

    def _packets(self, lacing, body):
        packets = []
        for length in lacing:
            self.partial += body[:length]
            body = body[length:]
            if length < 255:
                packets.append(self.partial)
                self.partial = b""
        return packets


def launch(pipeline):
    done = door.run(["gst-launch-1.0", "-q", *pipeline.split()], door.registry_folder())
    assert done.returncode == 0, (pipeline, done.stderr)


def recording():
    """A person who reads, of Debian's package pocketsphinx-testdata: set-up makes one file of it."""
    command = [door.ROOT / ".ci" / "setup", "--path", "speech"]
    where = subprocess.run(command, capture_output=True, text=True, check=True)
    return pathlib.Path(where.stdout.strip()) / "speech.wav"


@functools.lru_cache(maxsize=None)
def speech_packets(milliseconds=40, channels=1, bitrate=24000):
    """The recording as Opus packets of this duration."""
    with tempfile.TemporaryDirectory() as folder:
        launch(f"filesrc location={recording()} ! wavparse ! audioconvert ! audioresample "
               f"! audio/x-raw,rate=24000,channels={channels} ! opusenc frame-size={milliseconds} bitrate={bitrate} "
               f"! oggmux ! filesink location={folder}/speech.ogg")  # fmt: skip
        reader = Reader(strict=False)
        reader.append((pathlib.Path(folder) / "speech.ogg").read_bytes())
    assert all(packet_samples(packet) == milliseconds * 24 for packet in reader.packets)
    return tuple(reader.packets)


@functools.lru_cache(maxsize=None)
def speech_samples():
    """The recording as signed 16-bit samples at 24 kHz."""
    with tempfile.TemporaryDirectory() as folder:
        launch(f"filesrc location={recording()} ! wavparse ! audioconvert ! audioresample "
               f"! audio/x-raw,format=S16LE,rate=24000,channels=1 ! filesink location={folder}/speech.raw")  # fmt: skip
        return (pathlib.Path(folder) / "speech.raw").read_bytes()


def decode(packets):
    """Samples (S16) of a stream that the server sent."""
    with tempfile.TemporaryDirectory() as folder:
        source = pathlib.Path(folder) / "in.ogg"
        source.write_bytes(Writer(skip=0).pages(*packets))
        launch(f"filesrc location={source} ! oggdemux ! opusparse ! opusdec ! audioconvert ! audioresample "
               f"! audio/x-raw,format=S16LE,rate=24000,channels=1 ! filesink location={folder}/out.raw")  # fmt: skip
        return (pathlib.Path(folder) / "out.raw").read_bytes()
