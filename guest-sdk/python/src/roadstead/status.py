"""`google.rpc.Status` with the details that the contract uses, both ways."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .wire.errors import BadInput
from .wire.plain import encode_varint
from .wire.reader import BYTES, VARINT, fields

DOMAIN = "roadstead.dev"
METADATA_KEY = "grpc-status-details-bin"
_PREFIX = "type.googleapis.com/google.rpc."


@dataclass(frozen=True, slots=True)
class Details:
    """What stands behind a status code: why, and what to do about it."""

    reason: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    # Paths of fields, and what is wrong with each.
    violations: tuple[tuple[str, str], ...] = ()
    retry_after: float | None = None

    def encode(self, code: int, message: str) -> bytes:
        """The bytes of `google.rpc.Status`."""
        details = []
        if self.reason:
            pairs = self.metadata.items()
            entries = [_text(1, key) + _text(2, value) for key, value in pairs]
            info = _text(1, self.reason) + _text(2, DOMAIN) + b"".join(
                block(3, entry) for entry in entries
            )
            details.append(("ErrorInfo", info))
        if self.violations:
            found = (_text(1, path) + _text(2, text) for path, text in self.violations)
            details.append(("BadRequest", b"".join(block(1, one) for one in found)))
        if self.retry_after is not None:
            seconds = int(self.retry_after)
            nanos = int((self.retry_after - seconds) * 1e9)
            details.append(("RetryInfo", block(1, number(1, seconds) + number(2, nanos))))
        packed = (_text(1, _PREFIX + name) + block(2, body) for name, body in details)
        return number(1, code) + _text(2, message) + b"".join(block(3, one) for one in packed)

    @staticmethod
    def decode(data: bytes) -> Details:
        """What a status says. Bytes that are no status say nothing."""
        try:
            return _details(data)
        except (BadInput, UnicodeDecodeError):
            return Details()


def block(at: int, body: bytes) -> bytes:
    """A field of bytes, text or a message."""
    return encode_varint(at << 3 | BYTES) + encode_varint(len(body)) + body


def number(at: int, value: int) -> bytes:
    """A field with a varint; nothing for zero."""
    return encode_varint(at << 3 | VARINT) + encode_varint(value) if value else b""


def blocks(data: bytes, at: int) -> list[bytes]:
    """The fields of bytes, texts or messages with a number."""
    found = fields(data, 0, len(data))
    return [data[begin:end] for one, kind, begin, end in found if one == at and kind == BYTES]


def last_text(data: bytes, at: int) -> str:
    """The text with a number; empty where there is none."""
    return (blocks(data, at) or [b""])[-1].decode()


def last_number(data: bytes, at: int) -> int:
    """The varint with a number; zero where there is none."""
    found = fields(data, 0, len(data))
    values = [value for one, kind, value, _ in found if one == at and kind == VARINT]
    return values[-1] if values else 0


def _text(at: int, text: str) -> bytes:
    return block(at, text.encode()) if text else b""


def _details(data: bytes) -> Details:
    reason, metadata, violations, retry_after = "", {}, [], None
    for packed in blocks(data, 3):
        body = (blocks(packed, 2) or [b""])[-1]
        match last_text(packed, 1).removeprefix(_PREFIX):
            case "ErrorInfo":
                reason = last_text(body, 1)
                metadata = {last_text(one, 1): last_text(one, 2) for one in blocks(body, 3)}
            case "BadRequest":
                found = blocks(body, 1)
                violations = [(last_text(one, 1), last_text(one, 2)) for one in found]
            case "RetryInfo":
                delay = (blocks(body, 1) or [b""])[-1]
                retry_after = last_number(delay, 1) + last_number(delay, 2) / 1e9
    return Details(reason, metadata, tuple(violations), retry_after)
