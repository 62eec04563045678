"""A function's calls: arguments in, the value or an error out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import aclosing, closing
from dataclasses import dataclass
from typing import Any

from ..plan import Method
from ..wire import Codec
from .transport import AsyncTransport, Settings, Transport


@dataclass(frozen=True, slots=True)
class Rpc:
    """How the messages of a method are made and read."""

    codec: Codec
    method: Method

    def split(self, arguments: list[Any]) -> tuple[list[Any], Any]:
        """The arguments without the stream among them, and the stream."""
        assert self.method.input is not None
        at = self.method.input.position
        return [*arguments[:at], *arguments[at + 1 :]], arguments[at]

    def requests(self, arguments: list[Any]) -> Iterator[bytes]:
        """The messages of a stream that the caller sends."""
        others, items = self.split(arguments)
        yield self.codec.encode_start(self.method, others)
        for item in items:
            yield self.codec.encode_input(self.method, item)

    async def requests_async(self, arguments: list[Any]) -> AsyncIterator[bytes]:
        """The same of an asynchronous stream, or of a plain one."""
        others, items = self.split(arguments)
        yield self.codec.encode_start(self.method, others)
        if hasattr(items, "__aiter__"):
            async for item in items:
                yield self.codec.encode_input(self.method, item)
        else:
            for item in items:
                yield self.codec.encode_input(self.method, item)


def caller(rpc: Rpc, transport: Transport, settings: Settings) -> Callable[[list[Any]], Any]:
    """What calls a method with a list of arguments."""
    codec, method = rpc.codec, rpc.method

    def outputs(request: bytes | Iterable[bytes]) -> Iterator[Any]:
        with closing(transport.streaming_out(method.path, request, settings)) as answers:  # type: ignore[type-var]
            for answer in answers:
                yield codec.decode_output(method, answer)

    def call(arguments: list[Any]) -> Any:
        if method.input is None:
            request = codec.encode_request(method, arguments)
            if method.response.streams:
                return outputs(request)
            return codec.decode_response(method, transport.unary(method.path, request, settings))
        requests = rpc.requests(arguments)
        if method.response.streams:
            return outputs(requests)
        answer = transport.streaming_in(method.path, requests, settings)
        return codec.decode_response(method, answer)

    return call


def async_caller(
    rpc: Rpc, transport: AsyncTransport, settings: Settings
) -> Callable[[list[Any]], Any]:
    """The same: what it returns is awaited, or an asynchronous iterator."""
    codec, method = rpc.codec, rpc.method

    async def outputs(request: bytes | AsyncIterator[bytes]) -> AsyncIterator[Any]:
        async with aclosing(transport.streaming_out(method.path, request, settings)) as answers:  # type: ignore[type-var]
            async for answer in answers:
                yield codec.decode_output(method, answer)

    async def unary(arguments: list[Any]) -> Any:
        request = codec.encode_request(method, arguments)
        answer = await transport.unary(method.path, request, settings)
        return codec.decode_response(method, answer)

    async def streaming_in(arguments: list[Any]) -> Any:
        requests = rpc.requests_async(arguments)
        answer = await transport.streaming_in(method.path, requests, settings)
        return codec.decode_response(method, answer)

    def call(arguments: list[Any]) -> Any:
        if method.response.streams:
            if method.input is None:
                return outputs(codec.encode_request(method, arguments))
            return outputs(rpc.requests_async(arguments))
        return unary(arguments) if method.input is None else streaming_in(arguments)

    return call
