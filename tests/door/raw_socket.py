# SPDX-License-Identifier: MIT
"""A WebSocket made by hand, for what no library would send."""

import base64
import os
import socket
import struct

import talk

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


def frame(payload, opcode=BINARY, final=True, masked=True, reserved=0, length=None):
    """One frame; `length`: another one than the payload has."""
    length = len(payload) if length is None else length
    data = bytes([final << 7 | reserved << 4 | opcode])
    bit = masked << 7
    if length < 126:
        data += bytes([bit | length])
    elif length < 65536:
        data += struct.pack(">BH", bit | 126, length)
    else:
        data += struct.pack(">BQ", bit | 127, length)
    if not masked:
        return data + payload
    mask = os.urandom(4)
    stream = (mask * (len(payload) // 4 + 1))[: len(payload)]
    mixed = int.from_bytes(payload, "big") ^ int.from_bytes(stream, "big")
    return data + mask + mixed.to_bytes(len(payload), "big")


def request(target="/api/chat", method="GET", upgrade=True, **headers):
    lines = [f"{method} {target} HTTP/1.1", "Host: localhost"]
    if upgrade:
        key = base64.b64encode(os.urandom(16)).decode()
        lines += ["Upgrade: websocket", "Connection: Upgrade", f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode()


class RawSocket:
    """Plain TCP to a server, blocking, with time-outs."""

    def __init__(self, server, receive_buffer=None):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(talk.LIMIT_S)
        self.socket.connect(("127.0.0.1", server.port))
        self.rest = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def upgrade(self, target="/api/chat", **headers):
        """Asks for a WebSocket; the HTTP status."""
        self.socket.sendall(request(target, **headers))
        return self.status()

    def status(self):
        """Reads the head of an answer; its HTTP status, or 0 when the server closes without one."""
        while b"\r\n\r\n" not in self.rest:
            if not self.fill():
                return 0
        head, _, self.rest = self.rest.partition(b"\r\n\r\n")
        return int(head.split()[1])

    def fill(self):
        try:
            data = self.socket.recv(65536)
        except ConnectionResetError:
            data = b""
        self.rest += data
        return bool(data)

    def read_frame(self):
        """(opcode, payload) of the next frame, or None at the end."""
        while True:
            size = self._frame_size()
            if size and len(self.rest) >= sum(size):
                start, length = size
                opcode, payload = self.rest[0] & 15, self.rest[start : start + length]
                self.rest = self.rest[start + length :]
                return opcode, payload
            if not self.fill():
                return None

    def _frame_size(self):
        if len(self.rest) < 2:
            return None
        length = self.rest[1] & 127
        start = {126: 4, 127: 10}.get(length, 2)
        if len(self.rest) < start:
            return None
        return start, length if start == 2 else int.from_bytes(self.rest[2:start], "big")

    def close_code(self):
        """Reads to the end; the code of the close frame, or None without one."""
        while (got := self.read_frame()) is not None:
            opcode, payload = got
            if opcode == CLOSE:
                return int.from_bytes(payload[:2], "big") if payload else 1005
        return None

    def send(self, data):
        """False when the server is not there any more."""
        try:
            self.socket.sendall(data)
            return True
        except (BrokenPipeError, ConnectionResetError):
            return False

    def reset(self):
        """Vanishes with a TCP reset."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()
