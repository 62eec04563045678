"""A module's plan: what it offers, and how its messages lie on the wire.

`roadstead proto --plan` writes it as JSON, and a host hands it out for each module. Reading it
checks its form, so that the code behind can rely on it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

FORMAT = 1

_NAME = re.compile("[a-zA-Z][a-zA-Z0-9]*(-[a-zA-Z0-9]+)*")

T = TypeVar("T")

SCALARS = frozenset(
    "bool u8 u16 u32 u64 s8 s16 s32 s64 f32 f64 char string".split()
)


class BadPlan(ValueError):
    """The text is not a plan that this package reads."""


@dataclass(frozen=True, slots=True)
class Shape:
    """One value: exactly one of the four is set."""

    scalar: str | None = None
    is_bytes: bool = False
    enum: str | None = None
    message: str | None = None
    owned: bool = False


@dataclass(frozen=True, slots=True)
class Member:
    """A field or case of a message."""

    number: int
    name: str
    proto: str
    # singular, optional, repeated, map or case
    label: str
    key: str | None
    # None: a case without a payload.
    shape: Shape | None


@dataclass(frozen=True, slots=True)
class Message:
    """A message: `kind` says what WIT value it stands for."""

    name: str
    kind: str
    fields: tuple[Member, ...] = ()
    # Of a handle: the field of its id, and its resource's service.
    number: int = 0
    resource: str = ""


@dataclass(frozen=True, slots=True)
class Input:
    """The stream that callers send: which parameter it is, and the message that carries it."""

    position: int
    settles: bool
    message: str


@dataclass(frozen=True, slots=True)
class Response:
    """What comes back. `kind` is empty, value, result, items, or-error or then-error."""

    kind: str
    fields: tuple[Member, ...] = ()
    message: str = ""

    @property
    def streams(self) -> bool:
        """Whether any number of messages comes back."""
        return self.kind in ("items", "or-error", "then-error")


@dataclass(frozen=True, slots=True)
class Method:
    """One rpc."""

    service: str
    method: str
    interface: str | None
    function: str
    drops: bool
    request: str
    input: Input | None
    response: Response

    @property
    def path(self) -> str:
        """As gRPC names it."""
        return f"/{self.service}/{self.method}"


@dataclass(frozen=True, slots=True)
class TypeRef:
    """A type where it is used. `kind` is as in WIT, `named` for what has a name."""

    kind: str
    scalar: str = ""
    args: tuple[TypeRef | None, ...] = ()
    interface: str | None = None
    name: str = ""


@dataclass(frozen=True, slots=True)
class TypeMember:
    """A field, case, flag or parameter."""

    name: str
    docs: str | None
    type: TypeRef | None


@dataclass(frozen=True, slots=True)
class NamedType:
    """A record, variant, enum, flags or resource."""

    name: str
    kind: str
    proto: str
    docs: str | None
    members: tuple[TypeMember, ...]


@dataclass(frozen=True, slots=True)
class Function:
    """A function and its rpc."""

    name: str
    # function, constructor, method or static
    kind: str
    resource: str | None
    is_async: bool
    docs: str | None
    params: tuple[TypeMember, ...]
    result: TypeRef | None
    service: str
    method: str


@dataclass(frozen=True, slots=True)
class Interface:
    """An interface; without an id, the world's own functions and types."""

    id: str | None
    name: str | None
    exported: bool
    docs: str | None
    types: tuple[NamedType, ...]
    functions: tuple[Function, ...]


@dataclass(frozen=True)
class Plan:
    """Everything that is known of a module."""

    interfaces: tuple[Interface, ...]
    methods: Mapping[tuple[str, str], Method]
    messages: Mapping[str, Message]
    enums: Mapping[str, tuple[tuple[int, str], ...]]
    text: str = field(repr=False, default="")

    @staticmethod
    def parse(text: str) -> Plan:
        """Reads a plan's JSON.

        Raises BadPlan for anything else.
        """
        if not text:
            raise BadPlan("there is no plan: a host that is older than this package has none")
        try:
            return _plan(json.loads(text), text)
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            if isinstance(error, BadPlan):
                raise
            raise BadPlan(f"the plan does not read: {error!r}") from error

    def method(self, function: Function) -> Method:
        """The rpc of a function."""
        return self.methods[function.service, function.method]

    def interface(self, id: str | None) -> Interface:
        """The interface with an id."""
        return next(one for one in self.interfaces if one.id == id)

    def resources(self) -> list[str]:
        """The names of the resources that the module exports."""
        return [
            one.name
            for interface in self.interfaces
            for one in interface.types
            if one.kind == "resource"
        ]


def _plan(data: Mapping[str, Any], text: str) -> Plan:
    if data["format"] != FORMAT:
        raise BadPlan(f"the plan has format {data['format']}, and this package reads {FORMAT}")
    methods = [_method(one) for one in data["methods"]]
    plan = Plan(
        interfaces=_each(_interface, data["interfaces"]),
        methods={(one.service, one.method): one for one in methods},
        messages={name: _message(name, one) for name, one in data["messages"].items()},
        enums={
            name: tuple((int(number), str(case)) for number, case in cases)
            for name, cases in data["enums"].items()
        },
        text=text,
    )
    _check(plan)
    return plan


def _check(plan: Plan) -> None:
    """Every name that is used is defined, and those that become names in Python look like names."""
    for name in _names(plan):
        if not _NAME.fullmatch(name):
            raise BadPlan(f"{name!r} is not a WIT name")
    for interface in plan.interfaces:
        for function in interface.functions:
            if (function.service, function.method) not in plan.methods:
                raise BadPlan(f"no method {function.service}/{function.method}")
    members = [one for message in plan.messages.values() for one in message.fields]
    for method in plan.methods.values():
        members += method.response.fields
        wanted = [method.request, method.input.message if method.input else "", method.response.message]
        if missing := [name for name in wanted if name and name not in plan.messages]:
            raise BadPlan(f"no message {missing[0]}")
    for member in members:
        shape = member.shape
        if shape and shape.message and shape.message not in plan.messages:
            raise BadPlan(f"no message {shape.message}")
        if shape and shape.enum and shape.enum not in plan.enums:
            raise BadPlan(f"no enum {shape.enum}")


def _names(plan: Plan) -> Iterator[str]:
    for interface in plan.interfaces:
        for one in interface.types:
            yield from (one.name, *(member.name for member in one.members))
        for function in interface.functions:
            yield from (function.name, *(param.name for param in function.params))


def _each(read: Callable[[Any], T], items: Any) -> tuple[T, ...]:
    return tuple(read(one) for one in items)


def _method(data: Mapping[str, Any]) -> Method:
    stream, response = data["input"], data["response"]
    return Method(
        service=data["service"],
        method=data["method"],
        interface=data["interface"],
        function=data["function"],
        drops=data["drops"],
        request=data["request"],
        input=stream and Input(stream["position"], stream["settles"], stream["message"]),
        response=Response(
            kind=response["kind"],
            fields=_each(_member, response.get("fields", ())),
            message=response.get("message", ""),
        ),
    )


def _message(name: str, data: Mapping[str, Any]) -> Message:
    return Message(
        name=name,
        kind=data["kind"],
        fields=_each(_member, data.get("fields", ())),
        number=data.get("number", 0),
        resource=data.get("resource", ""),
    )


def _member(data: Mapping[str, Any]) -> Member:
    return Member(
        number=data["number"],
        name=data["name"],
        proto=data["proto"],
        label=data["label"],
        key=_scalar(data["key"]) if data["key"] else None,
        shape=_shape(data["shape"]) if data["shape"] else None,
    )


def _shape(data: Mapping[str, Any]) -> Shape:
    if "scalar" in data:
        return Shape(scalar=_scalar(data["scalar"]))
    if "enum" in data:
        return Shape(enum=data["enum"])
    if "message" in data:
        return Shape(message=data["message"], owned=data["owned"])
    return Shape(is_bytes=bool(data["bytes"]))


def _scalar(name: str) -> str:
    if name not in SCALARS:
        raise BadPlan(f"no scalar type {name}")
    return name


def _interface(data: Mapping[str, Any]) -> Interface:
    return Interface(
        id=data["id"],
        name=data["name"],
        exported=data["exported"],
        docs=data["docs"],
        types=_each(_named, data["types"]),
        functions=_each(_function, data["functions"]),
    )


def _named(data: Mapping[str, Any]) -> NamedType:
    members = _each(_type_member, data["members"])
    return NamedType(data["name"], data["kind"], data["proto"], data["docs"], members)


def _type_member(data: Mapping[str, Any]) -> TypeMember:
    return TypeMember(data["name"], data["docs"], _optional(data["type"]))


def _function(data: Mapping[str, Any]) -> Function:
    return Function(
        name=data["name"],
        kind=data["kind"],
        resource=data["resource"],
        is_async=data["async"],
        docs=data["docs"],
        params=_each(_type_member, data["params"]),
        result=_optional(data["result"]),
        service=data["service"],
        method=data["method"],
    )


def _optional(data: Any) -> TypeRef | None:
    return None if data is None else _type(data)


def _type(data: Mapping[str, Any]) -> TypeRef:
    ((kind, inner),) = data.items()
    match kind:
        case "scalar":
            return TypeRef(kind, scalar=_scalar(inner))
        case "list" | "option" | "stream" | "future":
            return TypeRef(kind, args=(_optional(inner),))
        case "map":
            return TypeRef(kind, scalar=_scalar(inner[0]), args=(_type(inner[1]),))
        case "tuple":
            return TypeRef(kind, args=_each(_type, inner))
        case "result":
            return TypeRef(kind, args=(_optional(inner["ok"]), _optional(inner["error"])))
        case "named" | "own" | "borrow":
            return TypeRef(kind, interface=inner["interface"], name=inner["name"])
    raise BadPlan(f"no type {kind}")
