"""The methods of a class as rpcs: raw bytes in, raw bytes out, by the plan."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from .. import hints
from ..names import snake
from ..plan import Function, Method, Plan
from ..types import Ok
from ..wire import Codec, is_err
from ..wire.errors import BadInput, FieldError
from .streams import ByteStreamReader, FutureReader, StreamReader
from .turns import Turn

F = TypeVar("F", bound=Callable[..., Any])
# The messages that a caller streams: raw bytes, None at the end.
NextMessage = Callable[[], Any]

_CONCURRENT = "__roadstead_concurrent__"


class ModuleError(Exception):
    """The class does not fit its WIT; the text says how."""


class Misbehaved(Exception):
    """The module's code gave what its WIT does not allow."""


def concurrent(method: F) -> F:
    """Declares that calls of the method may run beside each other, and beside those of others."""
    setattr(method, _CONCURRENT, True)
    return method


@dataclass(frozen=True, slots=True)
class Operation:
    """One rpc, and the method that answers it."""

    function: Function
    method: Method
    target: Callable[..., Any]
    concurrent: bool


def operations(plan: Plan, interface: str | None, instance: object) -> list[Operation]:
    """What an instance answers of an interface. Raises ModuleError where something is missing."""
    found = []
    for function in plan.interface(interface).functions:
        target = getattr(instance, snake(function.name), None)
        if not callable(target):
            name = type(instance).__name__
            raise ModuleError(f"{name} has no method {snake(function.name)}, which its WIT has")
        is_concurrent = bool(getattr(target, _CONCURRENT, False))
        found.append(Operation(function, plan.method(function), target, is_concurrent))
    return found


class Service:
    """Runs operations: decodes, calls, encodes."""

    def __init__(self, codec: Codec) -> None:
        self._codec = codec

    async def answer(self, operation: Operation, turn: Turn, arguments: list[Any]) -> bytes:
        """The response of a unary call."""
        try:
            value = await _invoke(operation, turn, arguments)
            if isinstance(value, FutureReader):
                value = await value.read()
            elif inspect.isawaitable(value):
                value = await value
        except Exception as error:
            if not is_err(error) or operation.method.response.kind != "result":
                raise
            value = error
        try:
            return self._codec.encode_response(operation.method, value)
        except FieldError as error:
            raise Misbehaved(f"it returned what its WIT does not allow: {error}") from error

    def arguments(self, operation: Operation, request: bytes) -> list[Any]:
        """The arguments of a request that is no stream."""
        return self._codec.decode_request(operation.method, request)

    async def streamed_arguments(self, operation: Operation, receive: NextMessage) -> list[Any]:
        """The arguments of a request that is a stream, with a reader of it in its place."""
        stream = operation.method.input
        assert stream is not None
        type = operation.function.params[stream.position].type
        flow = type.args[0] if type and stream.settles else type
        is_bytes = bool(flow and hints.is_u8(flow.args[0]))
        source = _Received(self._codec, operation.method, receive, is_bytes=is_bytes)
        arguments = await source.start()
        reader = source.reader()
        value: Any = (reader, FutureReader(source.settled)) if stream.settles else reader
        return [*arguments[: stream.position], value, *arguments[stream.position :]]

    async def outputs(
        self, operation: Operation, turn: Turn, arguments: list[Any]
    ) -> AsyncIterator[bytes]:
        """The responses of a call that streams them."""
        kind = operation.method.response.kind
        try:
            value = await _invoke(operation, turn, arguments)
            settled = None
            if kind == "then-error" and isinstance(value, tuple):
                value, settled = value
            async for item in _items(value, turn):
                yield self._output(operation, item)
            if settled is not None:
                end = await (settled.read() if hasattr(settled, "read") else settled)
                if is_err(end):
                    yield self._output(operation, end)
        except Exception as error:
            if not is_err(error) or kind == "items":
                raise
            yield self._output(operation, error)

    def _output(self, operation: Operation, item: Any) -> bytes:
        try:
            return self._codec.encode_output(operation.method, item)
        except FieldError as error:
            raise Misbehaved(f"it streamed what its WIT does not allow: {error}") from error


async def _invoke(operation: Operation, turn: Turn, arguments: list[Any]) -> Any:
    target = operation.target
    if inspect.iscoroutinefunction(target):
        return await target(*arguments)
    if inspect.isasyncgenfunction(target) or inspect.isgeneratorfunction(target):
        return target(*arguments)
    return await turn.in_thread(lambda: target(*arguments))


async def _items(value: Any, turn: Turn) -> AsyncIterator[Any]:
    if isinstance(value, ByteStreamReader):
        while chunk := await value.read(1 << 16):
            yield chunk
    elif hasattr(value, "__aiter__"):
        async for item in value:
            yield item
    elif isinstance(value, Iterable):
        iterator, end = iter(value), object()
        while (item := await turn.in_thread(lambda: next(iterator, end))) is not end:
            yield item
    else:
        raise Misbehaved(f"it returned a {type(value).__name__} where its WIT has a stream")


class _Received:
    """The stream that a caller sends, decoded message by message."""

    def __init__(
        self, codec: Codec, method: Method, receive: NextMessage, *, is_bytes: bool
    ) -> None:
        self._codec, self._method, self._receive = codec, method, receive
        # What was received and not read yet: one item, or the rest of a chunk.
        self._kept: Any = None
        # Chunks of bytes are read in pieces; each item of another stream is read whole.
        self._is_bytes = is_bytes
        self._ended = asyncio.Event()

    async def start(self) -> list[Any]:
        """The other arguments. They come first, or not at all where there are none."""
        message = await self._receive()
        if message is not None:
            is_start, value = self._codec.decode_input(self._method, message)
            if is_start:
                arguments: list[Any] = value
                return arguments
            self._kept = self._items(value)
        if self._codec.plan.messages[self._method.request].fields:
            raise BadInput("the first message must be `start`, with the other parameters")
        return []

    def reader(self) -> StreamReader[Any] | ByteStreamReader:
        """What the method gets for the stream."""
        reader: StreamReader[Any] | ByteStreamReader
        if self._is_bytes:
            reader = ByteStreamReader(self._pull, self._ended.set)
        else:
            reader = StreamReader(self._pull, self._ended.set)
        reader._loop = asyncio.get_running_loop()
        return reader

    async def settled(self) -> Any:
        """How the stream ended: a caller that breaks off cancels the call instead."""
        await self._ended.wait()
        return Ok(None)

    async def _pull(self, most: int) -> Any:
        while self._kept is None:
            message = await self._receive()
            if message is None:
                self._ended.set()
                return None
            is_start, value = self._codec.decode_input(self._method, message)
            if is_start:
                raise BadInput("`start` came more than once")
            self._kept = self._items(value)
        taken, rest = self._kept[:most], self._kept[most:]
        self._kept = rest if len(rest) else None
        return taken

    def _items(self, value: Any) -> Any:
        """What can be read of a message: of a chunk its bytes, and nothing of an empty one."""
        if self._is_bytes:
            return value if len(value) else None
        return [value]

