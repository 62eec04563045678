"""Resources: objects that live in a module between calls."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from ..names import camel, snake
from ..plan import Function, NamedType
from ..wire import BadValue, Codec

Call = Callable[[list[Any]], Any]


class Resource:
    """A handle of something that lives in a module. Closed, or left by `with`, it is dropped."""

    _drop: Call | None = None
    _handle: bytes | None = None

    def close(self) -> Any:
        """Drops it. Of a module for `async` code, what this returns is awaited."""
        drop, alive = type(self)._drop, self._handle is not None
        return drop([self]) if drop is not None and alive else None

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    async def __aenter__(self) -> Any:
        return self

    async def __aexit__(self, *_: Any) -> None:
        await self.close()


class Resources:
    """The classes of resources, by their services: what the codec makes of handles."""

    def __init__(self) -> None:
        self._classes: dict[str, type[Resource]] = {}

    def add(self, service: str, cls: type[Resource]) -> type[Resource]:
        """Knows one more class."""
        self._classes[service] = cls
        return cls

    def object_of(self, resource: str, id: bytes, owned: bool) -> Any:
        """The object of a handle that came back."""
        cls = self._classes[resource]
        made = object.__new__(cls)
        made._handle = id
        return made

    def id_of(self, resource: str, value: Any, owned: bool) -> bytes:
        """The handle of an object. One that its module takes over is of no use afterwards."""
        cls = self._classes[resource]
        if not isinstance(value, cls):
            raise BadValue(f"must be a {cls.__name__}, not {type(value).__name__}")
        id = value._handle
        if id is None:
            raise BadValue(f"the {cls.__name__} is closed")
        if owned:
            value._handle = None
        return id


def resource_class(
    codec: Codec,
    one: NamedType,
    functions: list[Function],
    caller: Callable[[Function], Call],
    signature: Callable[[Function], inspect.Signature],
    drop: Call | None,
) -> type[Resource]:
    """A class with the methods of a resource.

    To make an object calls its constructor; of a module for `async` code, that is awaited.
    """
    body: dict[str, Any] = {"__doc__": one.docs, "_drop": staticmethod(drop) if drop else None}
    for function in functions:
        bound = _bound(signature(function), caller(function))
        if function.kind == "constructor":
            body["__new__"] = lambda cls, *args, _bound=bound, **kwargs: _bound(*args, **kwargs)
            body["__signature__"] = signature(function)
        else:
            method = _named(function, bound, signature(function))
            body[snake(function.name)] = staticmethod(method) if function.kind == "static" else method
    return type(camel(one.name), (Resource,), body)


def _bound(signature: inspect.Signature, call: Call) -> Callable[..., Any]:
    return lambda *args, **kwargs: call(list(signature.bind(*args, **kwargs).arguments.values()))


def _named(
    function: Function, bound: Callable[..., Any], signature: inspect.Signature
) -> Callable[..., Any]:
    # The WIT names the object itself `self`, as the first parameter.
    def method(*args: Any, **kwargs: Any) -> Any:
        return bound(*args, **kwargs)

    method.__name__ = snake(function.name)
    method.__doc__ = function.docs
    method.__signature__ = signature  # type: ignore[attr-defined]
    return method
