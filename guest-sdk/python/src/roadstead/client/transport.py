"""Raw calls, with what the host must know of them and without what may fail for no reason."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import grpc

from ..errors import CallError, error_of
from .retry import Deadline, Retry


@dataclass(frozen=True, slots=True)
class Settings:
    """How calls are made. `timeout` is for a whole call, its repetitions included."""

    metadata: tuple[tuple[str, str], ...] = ()
    timeout: float | None = None
    idempotent: bool = False
    retry: Retry = Retry()

    def with_module(self, module: str) -> Settings:
        """For calls of one module."""
        return replace(self, metadata=(*self.metadata, ("roadstead-module", module)))


class Transport:
    """Makes calls and waits for them."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._channel = channel

    def unary(self, path: str, request: bytes, settings: Settings) -> bytes:
        """One message each way."""
        rpc = self._channel.unary_unary(path)
        deadline, attempt = Deadline.after(settings.timeout), 1
        while True:
            try:
                answer: bytes = rpc(request, timeout=deadline.left(), metadata=settings.metadata)
                return answer
            except grpc.RpcError as raised:
                error = error_of(raised)
            pause = _pause(error, attempt, deadline, settings)
            time.sleep(pause)
            attempt += 1

    def streaming_in(self, path: str, requests: Iterable[bytes], settings: Settings) -> bytes:
        """Many messages there, one back."""
        rpc = self._channel.stream_unary(path)
        try:
            answer: bytes = rpc(
                iter(requests), timeout=settings.timeout, metadata=settings.metadata
            )
            return answer
        except grpc.RpcError as raised:
            raise error_of(raised) from None

    def streaming_out(
        self, path: str, request: bytes | Iterable[bytes], settings: Settings
    ) -> Iterator[bytes]:
        """Many messages back. To close the iterator is to cancel the call."""
        given: Any = request
        if isinstance(request, bytes):
            rpc = self._channel.unary_stream(path)
        else:
            rpc, given = self._channel.stream_stream(path), iter(request)
        call = rpc(given, timeout=settings.timeout, metadata=settings.metadata)
        return _answers(call)


def _answers(call: Any) -> Iterator[bytes]:
    try:
        yield from call
    except grpc.RpcError as raised:
        raise error_of(raised) from None
    finally:
        call.cancel()


class AsyncTransport:
    """The same, on an event loop."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel

    async def unary(self, path: str, request: bytes, settings: Settings) -> bytes:
        """One message each way."""
        rpc = self._channel.unary_unary(path)
        deadline, attempt = Deadline.after(settings.timeout), 1
        while True:
            try:
                answer: bytes = await rpc(
                    request, timeout=deadline.left(), metadata=settings.metadata
                )
                return answer
            except grpc.RpcError as raised:
                error = error_of(raised)
            await asyncio.sleep(_pause(error, attempt, deadline, settings))
            attempt += 1

    async def streaming_in(
        self, path: str, requests: AsyncIterator[bytes], settings: Settings
    ) -> bytes:
        """Many messages there, one back."""
        rpc = self._channel.stream_unary(path)
        try:
            answer: bytes = await rpc(
                requests, timeout=settings.timeout, metadata=settings.metadata
            )
            return answer
        except grpc.RpcError as raised:
            raise error_of(raised) from None

    async def streaming_out(
        self, path: str, request: bytes | AsyncIterator[bytes], settings: Settings
    ) -> AsyncIterator[bytes]:
        """Many messages back. To close the iterator is to cancel the call."""
        if isinstance(request, bytes):
            rpc = self._channel.unary_stream(path)
        else:
            rpc = self._channel.stream_stream(path)
        call = rpc(request, timeout=settings.timeout, metadata=settings.metadata)
        try:
            async for message in call:
                yield message
        except grpc.RpcError as raised:
            raise error_of(raised) from None
        finally:
            call.cancel()


def _pause(error: CallError, attempt: int, deadline: Deadline, settings: Settings) -> float:
    """How long to wait before the call is made again. Raises the error where it is not."""
    pause = settings.retry.pause(error, attempt, settings.idempotent)
    if pause is None or not deadline.allows(pause):
        raise error
    return pause
