"""Whether a call comes from the host: its metadata is signed with a key that both know.

`roadstead-call-bin` holds `roadstead.v1.NativeCall`, `roadstead-signature-bin` the HMAC-SHA256 of
those bytes. A signature holds for its method, and for a few minutes.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

from ..wire.errors import BadInput
from .context import Caller

CALL, SIGNATURE = "roadstead-call-bin", "roadstead-signature-bin"
# How far the clocks of host and module may be apart, with the time a call takes to get here.
MAX_AGE = 300.0
MIN_KEY = 32


class NotSigned(Exception):
    """The call does not come from the host, or its signature is too old."""


class BadKey(Exception):
    """The file does not hold a key."""


class Verifier:
    """Reads what the host says of calls. Without a key it says nothing, and nothing is believed."""

    def __init__(self, key: bytes | None) -> None:
        if key is not None and len(key) < MIN_KEY:
            raise BadKey(f"the key has {len(key)} bytes: it needs {MIN_KEY} at least")
        self._key = key

    @staticmethod
    def from_file(path: Path | None) -> Verifier:
        """With the key in a file; without a file, one that asks for no signatures."""
        if path is None:
            return Verifier(None)
        try:
            return Verifier(path.read_bytes())
        except (OSError, BadKey) as error:
            raise BadKey(f"read the key {path}: {error}") from None

    def verify(self, method: str, metadata: Mapping[str, str | bytes]) -> Caller | None:
        """Who calls a method. Raises NotSigned where it is not proved."""
        if self._key is None:
            return None
        said, signature = metadata.get(CALL), metadata.get(SIGNATURE)
        if not isinstance(said, bytes) or not isinstance(signature, bytes):
            raise NotSigned("this module answers its host alone")
        if not hmac.compare_digest(sign(self._key, said), signature):
            raise NotSigned("the call's signature is not the host's")
        try:
            caller = Caller.decode(said)
        except (BadInput, UnicodeDecodeError):
            raise NotSigned("the call's signed metadata does not read") from None
        if caller.method != method:
            raise NotSigned("the call's signature is another method's")
        if abs(time.time() - caller.issued_unix_ms / 1000) > MAX_AGE:
            raise NotSigned("the call's signature is too old")
        return caller


def sign(key: bytes, said: bytes) -> bytes:
    """The signature of what a host says."""
    return hmac.new(key, said, sha256).digest()
