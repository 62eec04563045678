"""A module as a Python object: its functions with their real signatures, and its types."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Generic, Self, TypeVar

from .. import classes, hints
from ..names import camel, interface_names, snake
from ..plan import Function, Interface, Plan, TypeRef
from ..wire import Codec
from .calls import Rpc, async_caller, caller
from .resource import Resources, resource_class
from .transport import AsyncTransport, Settings, Transport

X = TypeVar("X", Transport, AsyncTransport)


class _Names:
    """Functions and types under their names."""

    def __init__(self, name: str, docs: str | None) -> None:
        self._name = name
        self.__doc__ = docs

    def __repr__(self) -> str:
        return f"<{self._name}: {', '.join(self.__dir__())}>"

    def __dir__(self) -> list[str]:
        return sorted(name for name in vars(self) if not name.startswith("_"))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise AttributeError(f"there is no {name}: there are {', '.join(self.__dir__())}")


class _Module(_Names, Generic[X]):
    """What both kinds of modules have. A name that two interfaces share stands in them alone."""

    def __init__(self, plan: Plan, transport: X, settings: Settings) -> None:
        super().__init__("module", None)
        self._plan = plan
        self._transport: X = transport
        self._settings = settings
        is_async = isinstance(transport, AsyncTransport)
        self._made = classes.Made(plan, streams=is_async)
        self._resources = Resources()
        bound = classes.bind(plan, self._made.find)
        self._codec = Codec(plan, bound, self._resources)
        names = interface_names(one.id for one in plan.interfaces if one.id is not None)
        self._groups: dict[str, _Names] = {}
        own: dict[str, Any] = {}
        shared: dict[str, int] = {}
        for interface in plan.interfaces:
            members = self._members(interface)
            for name, member in members.items():
                shared[name] = shared.get(name, 0) + 1
                own[name] = member
            if interface.id is not None:
                group = _Names(interface.id, interface.docs)
                vars(group).update(members)
                self._groups[snake(names[interface.id])] = group
        vars(self).update((name, member) for name, member in own.items() if shared[name] == 1)
        for name, group in self._groups.items():
            vars(self).setdefault(name, group)

    def __getitem__(self, interface: str) -> Any:
        """An interface by its name, also where a function has the same."""
        return self._groups[interface]

    def with_options(self, *, timeout: float | None = None, idempotent: bool = False) -> Self:
        """The same module, with another deadline for each call, in seconds.

        `idempotent` calls are made again also where a connection broke, when they may have run.
        """
        settings = replace(self._settings, idempotent=idempotent)
        if timeout is not None:
            settings = replace(settings, timeout=timeout)
        return type(self)(self._plan, self._transport, settings)

    def _members(self, interface: Interface) -> dict[str, Any]:
        members = dict(self._made.of(interface.id))
        for one in interface.types:
            if one.kind == "resource":
                functions = [f for f in interface.functions if f.resource == one.name]
                cls = resource_class(
                    self._codec, one, functions, self._caller, self._signature, self._drop(one.proto)
                )
                members[camel(one.name)] = self._resources.add(self._service_of(one.proto), cls)
        for function in interface.functions:
            if function.resource is None:
                members[snake(function.name)] = self._function(function)
        return members

    def _service_of(self, handle: str) -> str:
        return self._plan.messages[handle].resource

    def _drop(self, handle: str) -> Callable[[list[Any]], Any] | None:
        service = self._service_of(handle) if handle in self._plan.messages else ""
        found = [m for m in self._plan.methods.values() if m.service == service and m.drops]
        return self._call(Rpc(self._codec, found[0])) if found else None

    def _function(self, function: Function) -> Callable[..., Any]:
        call, signature = self._caller(function), self._signature(function)

        def invoke(*args: Any, **kwargs: Any) -> Any:
            bound = signature.bind(*args, **kwargs)
            return call(list(bound.arguments.values()))

        invoke.__name__ = invoke.__qualname__ = snake(function.name)
        invoke.__doc__ = function.docs
        invoke.__signature__ = signature  # type: ignore[attr-defined]
        invoke.__annotations__ = {
            **{param.name: param.annotation for param in signature.parameters.values()},
            "return": signature.return_annotation,
        }
        return invoke

    def _caller(self, function: Function) -> Callable[[list[Any]], Any]:
        return self._call(Rpc(self._codec, self._plan.method(function)))

    def _call(self, rpc: Rpc) -> Callable[[list[Any]], Any]:
        if isinstance(self._transport, AsyncTransport):
            return async_caller(rpc, self._transport, self._settings)
        return caller(rpc, self._transport, self._settings)

    def _signature(self, function: Function) -> inspect.Signature:
        stream = self._plan.method(function).input
        params = [
            inspect.Parameter(
                snake(param.name),
                inspect.Parameter.POSITIONAL_OR_KEYWORD,
                annotation=self._made.hint(
                    _stream(param.type) if stream and at == stream.position else param.type
                ),
            )
            for at, param in enumerate(function.params)
        ]
        result = _stream(hints.returned(function.result))
        return inspect.Signature(params, return_annotation=self._made.hint(result))


def _stream(ref: TypeRef | None) -> TypeRef | None:
    """Of the idiom `tuple<stream<T>, future<result<_, E>>>` the stream: the error is raised."""
    first = ref.args[0] if ref is not None and ref.kind == "tuple" and ref.args else None
    return first if first is not None and first.kind == "stream" else ref


class Module(_Module[Transport]):
    """A module: `module.function(…)` calls, `module.Type(…)` makes a value.

    Each of its interfaces is an attribute too, and `module["name"]`.
    """


class AsyncModule(_Module[AsyncTransport]):
    """A module for `async` code: what calls return is awaited, streams are iterated over."""
