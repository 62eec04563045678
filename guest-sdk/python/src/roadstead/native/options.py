"""Where a native module listens and what it takes: from its environment, or given in code."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import grpc


class OptionsError(Exception):
    """The environment does not say what it must; the text says what is missing."""


@dataclass(frozen=True, slots=True)
class Tls:
    """The module's certificate, and the authority whose certificates hosts have."""

    certificate: Path
    key: Path
    authority: Path

    def credentials(self) -> grpc.ServerCredentials:
        """For a server that asks its callers for certificates."""
        try:
            pair = (self.key.read_bytes(), self.certificate.read_bytes())
            authority = self.authority.read_bytes()
        except OSError as error:
            raise OptionsError(f"read the certificates: {error}") from None
        return grpc.ssl_server_credentials([pair], authority, require_client_auth=True)


@dataclass(frozen=True, slots=True)
class Options:
    """How a module is served. A socket, or an address with TLS; on loopback, TLS may be left out."""

    socket: Path | None = None
    listen: str | None = None
    tls: Tls | None = None
    # The key that hosts sign calls with; without one, calls have no caller.
    key_file: Path | None = None
    # The attempt, as the host numbered it, 0 where nobody did: then an actor takes the next number of
    # its state; and where that is kept.
    epoch: int = 0
    state: Path | None = None
    # Bytes of a request and of a response.
    max_message: int = 64 << 20
    # Calls that may wait for their turn; those beyond are refused.
    max_waiting: int = 256
    # Threads for methods that are declared concurrent and not asynchronous.
    threads: int = 8
    # Seconds of a graceful stop. Calls that still run shortly before they are over are interrupted.
    grace: float = 20.0
    # Lists and bytes like a component has them, in place of arrays and views.
    plain_lists: bool = False

    def __post_init__(self) -> None:
        if (self.socket is None) == (self.listen is None):
            raise OptionsError("name one of ROADSTEAD_SOCKET (a path) and ROADSTEAD_LISTEN (host:port)")
        if self.listen is not None and self.tls is None and not _is_loopback(self.listen):
            raise OptionsError(
                f"{self.listen} can be reached from elsewhere: name ROADSTEAD_TLS_CERT, "
                "ROADSTEAD_TLS_KEY and ROADSTEAD_TLS_CA"
            )
        for name in ("max_message", "max_waiting", "threads"):
            if getattr(self, name) < 1:
                raise OptionsError(f"{name} must be 1 or more")
        if not 0 <= self.grace <= _LONGEST_GRACE:
            raise OptionsError(f"grace must be 0 to {_LONGEST_GRACE} seconds")

    @property
    def address(self) -> str:
        """As gRPC names it."""
        return f"unix:{self.socket.absolute()}" if self.socket else self.listen or ""

    @staticmethod
    def from_environment(environment: Mapping[str, str], **given: object) -> Options:
        """What `ROADSTEAD_SOCKET` and the others say; what is given in code goes first."""
        paths = {name: environment.get(f"ROADSTEAD_{name}") for name in _TLS}
        tls = None
        if any(paths.values()):
            missing = [f"ROADSTEAD_{name}" for name, path in paths.items() if not path]
            if missing:
                raise OptionsError(f"{' and '.join(missing)} must be named too")
            tls = Tls(*(Path(path or "") for path in paths.values()))
        values: dict[str, object] = {
            "socket": _path(environment, "ROADSTEAD_SOCKET"),
            "listen": environment.get("ROADSTEAD_LISTEN") or None,
            "tls": tls,
            "key_file": _path(environment, "ROADSTEAD_CALL_KEY"),
            "state": _path(environment, "ROADSTEAD_STATE"),
            "epoch": _number(environment, "ROADSTEAD_EPOCH", 0),
            "max_message": _number(environment, "ROADSTEAD_MAX_MESSAGE", 64 << 20),
            "grace": _seconds(environment, "ROADSTEAD_GRACE", 20.0),
        }
        return Options(**{**values, **given})  # type: ignore[arg-type]


# As long as a spec may say.
_LONGEST_GRACE = 3600
_TLS = ("TLS_CERT", "TLS_KEY", "TLS_CA")


def _path(environment: Mapping[str, str], name: str) -> Path | None:
    text = environment.get(name)
    return Path(text) if text else None


def _number(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name)
    if not text:
        return default
    if not text.isascii() or not text.isdigit():
        raise OptionsError(f"{name} must be a number, not {text!r}")
    return int(text)


def _seconds(environment: Mapping[str, str], name: str, default: float) -> float:
    text = environment.get(name)
    if not text:
        return default
    if not re.fullmatch(r"[0-9]+(\.[0-9]+)?", text):
        raise OptionsError(f"{name} must be a number of seconds, like 20 or 0.5, not {text!r}")
    return float(text)


def _is_loopback(listen: str) -> bool:
    host = listen.rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
