"""Connections to hosts, set up as a fleet of them wants it."""

from __future__ import annotations

import ipaddress
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

# All hosts behind a name are used. What may be made again is decided here, not by gRPC.
_SERVICE_CONFIG = json.dumps({"loadBalancingConfig": [{"round_robin": {}}]})


@dataclass(frozen=True, slots=True)
class Tls:
    """Certificates: of the authority (default: the system's), and perhaps of the client itself."""

    authority: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    def credentials(self) -> grpc.ChannelCredentials:
        """For a channel."""
        read = [path and Path(path).read_bytes() for path in (self.authority, self.key, self.certificate)]
        return grpc.ssl_channel_credentials(*read)


def credentials(target: str, tls: Tls | Path | bool, token: str | None) -> Any:
    """What a channel is secured with; None: nothing. A token is never sent to be read on the way."""
    if tls is True:
        return grpc.ssl_channel_credentials()
    if tls:
        return (tls if isinstance(tls, Tls) else Tls(Path(tls))).credentials()
    if token and not is_local(target):
        raise ValueError(f"a token would be sent to {target} in plain text: set tls")
    return None


def options(max_message: int) -> list[tuple[str, Any]]:
    """Of a channel: balancing, keepalive, and how large messages may be."""
    return [
        ("grpc.service_config", _SERVICE_CONFIG),
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.max_receive_message_length", max_message),
        ("grpc.max_send_message_length", max_message),
    ]


def is_local(target: str) -> bool:
    """Whether a target is this machine."""
    if target.startswith("unix:"):
        return True
    host = target.removeprefix("dns:///").rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
