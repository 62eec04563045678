"""Hosts: `connect` to one, or to a fleet behind one name, and get its modules."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any, Self

import grpc

from ..plan import Plan
from ..status import block, last_text
from .channel import Tls, credentials, options
from .module import AsyncModule, Module
from .retry import Retry
from .transport import AsyncTransport, Settings, Transport

_PROTOS = "/roadstead.v1.ModuleService/GetModuleProtos"
MAX_MESSAGE = 256 << 20


def connect(
    target: str,
    *,
    token: str | None = None,
    namespace: str | None = None,
    tls: Tls | Path | bool = False,
    timeout: float | None = None,
    retry: Retry = Retry(),
    max_message: int = MAX_MESSAGE,
) -> Host:
    """A host at an address like `localhost:7411`, or all behind `dns:///name:port`.

    `tls` is True for the system's authorities, else a file with them, or `Tls`. `timeout` is how
    many seconds each call may take. Nothing is sent before the first call.
    """
    security, named = credentials(target, tls, token), options(max_message)
    if security is None:
        channel = grpc.insecure_channel(target, named)
    else:
        channel = grpc.secure_channel(target, security, named)
    return Host(channel, _settings(token, namespace, timeout, retry))


def connect_async(
    target: str,
    *,
    token: str | None = None,
    namespace: str | None = None,
    tls: Tls | Path | bool = False,
    timeout: float | None = None,
    retry: Retry = Retry(),
    max_message: int = MAX_MESSAGE,
) -> AsyncHost:
    """The same for `async` code."""
    security, named = credentials(target, tls, token), options(max_message)
    if security is None:
        channel = grpc.aio.insecure_channel(target, named)
    else:
        channel = grpc.aio.secure_channel(target, security, named)
    return AsyncHost(channel, _settings(token, namespace, timeout, retry))


def _settings(
    token: str | None, namespace: str | None, timeout: float | None, retry: Retry
) -> Settings:
    metadata = []
    if token is not None:
        metadata.append(("authorization", f"Bearer {token}"))
    if namespace is not None:
        metadata.append(("roadstead-namespace", namespace))
    return Settings(tuple(metadata), timeout, retry=retry)


class Host:
    """A host. Its connection may be used from several threads."""

    def __init__(self, channel: grpc.Channel, settings: Settings) -> None:
        self._channel, self._settings = channel, settings
        self._transport = Transport(channel)

    def module(self, name: str) -> Module:
        """A module, as `name` or `name@version`, with a function for each of its own."""
        request = _protos_request(name)
        answer = self._transport.unary(_PROTOS, request, self._settings)
        return self.with_plan(last_text(answer, 3), name)

    def with_plan(self, plan: str, name: str | None = None) -> Module:
        """A module whose plan is known: of a native module without a host, for one."""
        settings = self._settings if name is None else self._settings.with_module(name)
        return Module(Plan.parse(plan), self._transport, settings)

    def close(self) -> None:
        """Ends the connection."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class AsyncHost:
    """A host, for `async` code."""

    def __init__(self, channel: grpc.aio.Channel, settings: Settings) -> None:
        self._channel, self._settings = channel, settings
        self._transport = AsyncTransport(channel)

    async def module(self, name: str) -> AsyncModule:
        """A module, as `name` or `name@version`, with a function for each of its own."""
        request = _protos_request(name)
        answer = await self._transport.unary(_PROTOS, request, self._settings)
        return self.with_plan(last_text(answer, 3), name)

    def with_plan(self, plan: str, name: str | None = None) -> AsyncModule:
        """A module whose plan is known: of a native module without a host, for one."""
        settings = self._settings if name is None else self._settings.with_module(name)
        return AsyncModule(Plan.parse(plan), self._transport, settings)

    async def close(self) -> None:
        """Ends the connection."""
        await self._channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: Any) -> None:
        await self.close()


def _protos_request(name: str) -> bytes:
    module, _, version = name.partition("@")
    return block(1, module.encode()) + (block(2, version.encode()) if version else b"")
