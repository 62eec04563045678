"""HTTP/2 by hand: frames in an order that no client library sends at will."""

import socket
import struct

import hpack

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS = 1, 1, 4
INITIAL_WINDOW, MAX_FRAME = 4, 16384
ERRORS = [
    "NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT",
    "STREAM_CLOSED", "FRAME_SIZE_ERROR", "REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR",
    "CONNECT_ERROR", "ENHANCE_YOUR_CALM", "INADEQUATE_SECURITY", "HTTP_1_1_REQUIRED",
]  # fmt: skip


class Closed(Exception):
    """The host closed the connection."""


class Wire:
    """One connection."""

    def __init__(self, address, settings=()):
        self.socket = socket.create_connection(address, timeout=2)
        self.encoder, self.decoder = hpack.Encoder(), hpack.Decoder()
        self.received = b""
        pairs = b"".join(struct.pack(">HI", *pair) for pair in settings)
        self.send(PREFACE + frame(SETTINGS, 0, 0, pairs))

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.socket.close()

    def send(self, data):
        try:
            self.socket.sendall(data)
        except TimeoutError:
            raise
        except OSError:
            raise Closed from None

    def head(self, path, extra=(), method="POST"):
        """The header block of a gRPC call."""
        return self.encoder.encode([
            (":method", method), (":scheme", "http"), (":path", path), (":authority", "host"),
            ("content-type", "application/grpc"), ("te", "trailers"),
            ("roadstead-namespace", "attacks"), *extra,
        ])  # fmt: skip

    def open(self, stream, path, extra=(), end=False):
        flags = END_HEADERS | (END_STREAM if end else 0)
        self.send(frame(HEADERS, flags, stream, self.head(path, extra)))

    def call(self, stream, path, message=b"", extra=()):
        """A whole unary call."""
        self.open(stream, path, extra)
        self.send(frame(DATA, END_STREAM, stream, grpc_message(message)))

    def frames(self, wait=5.0):
        """What the host sends until it says nothing for so long; ends with `Closed`."""
        self.socket.settimeout(wait)
        while True:
            while len(self.received) < 9 or len(self.received) < 9 + self.length():
                try:
                    more = self.socket.recv(1 << 16)
                except TimeoutError:
                    return
                except OSError:
                    raise Closed from None
                if not more:
                    raise Closed
                self.received += more
            size = self.length()
            kind, flags, stream = struct.unpack(">BBI", self.received[3:9])
            payload, self.received = self.received[9 : 9 + size], self.received[9 + size :]
            yield kind, flags, stream & 0x7FFFFFFF, payload

    def length(self):
        return int.from_bytes(self.received[:3], "big")

    def verdict(self, wait=5.0):
        """How the host ends the connection, or the first stream that it ends by itself."""
        try:
            for kind, flags, _, payload in self.frames(wait):
                if kind == GOAWAY:
                    return f"GOAWAY {ERRORS[int.from_bytes(payload[4:8], 'big')]}"
                if kind == RST_STREAM:
                    return f"RST_STREAM {ERRORS[int.from_bytes(payload, 'big')]}"
                if kind == HEADERS and flags & END_HEADERS:
                    headers = dict(self.decoder.decode(payload))
                    if headers.get("grpc-status") or headers[":status"] != "200":
                        return f"status {headers.get('grpc-status', headers.get(':status'))}"
        except Closed:
            return "closed"
        return "held"


def frame(kind, flags, stream, payload=b""):
    return len(payload).to_bytes(3, "big") + struct.pack(">BBI", kind, flags, stream) + payload


def grpc_message(message, flag=0, announced=None):
    size = len(message) if announced is None else announced
    return struct.pack(">BI", flag, size) + message
