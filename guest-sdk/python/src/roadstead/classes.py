"""Python classes for the types of a plan: found in generated bindings, or made on the spot."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable
from typing import Any

from . import hints
from .names import camel, case_class, snake, upper
from .plan import Interface, NamedType, Plan, TypeRef
from .wire import bound

# Finds a class by the id of its interface and its Python name.
Find = Callable[[str | None, str], type[Any]]


def bind(plan: Plan, find: Find) -> dict[str, bound.Bound]:
    """Every named type by its protobuf name, with the classes that stand for it."""
    return {
        one.proto: _bind(one, lambda name: find(interface.id, name))
        for interface in plan.interfaces
        for one in interface.types
        if one.kind != "resource"
    }


def _bind(one: NamedType, find: Callable[[str], type[Any]]) -> bound.Bound:
    names = [member.name for member in one.members]
    if one.kind == "variant":
        return bound.Variant({name: find(case_class(one.name, name)) for name in names})
    cls = find(camel(one.name))
    if one.kind == "record":
        return bound.Record(cls, tuple(snake(name) for name in names))
    members = {name: cls[upper(name)] for name in names}
    if one.kind == "enum":
        return bound.Enumeration(members)
    return bound.FlagSet(cls, members)


class Made:
    """Classes made of a plan, as bindings would have them."""

    def __init__(self, plan: Plan, *, streams: bool = False) -> None:
        self._by_interface: dict[str | None, dict[str, Any]] = {}
        self._make = hints.objects(streams)
        for interface in plan.interfaces:
            classes = self._by_interface.setdefault(interface.id, {})
            for one in interface.types:
                self._define(interface, one, classes)

    def of(self, id: str | None) -> dict[str, Any]:
        """The classes of an interface by their names."""
        return self._by_interface.get(id, {})

    def find(self, id: str | None, name: str) -> type[Any]:
        """One class of an interface."""
        cls: type[Any] = self._by_interface[id][name]
        return cls

    def hint(self, ref: TypeRef | None) -> Any:
        """A type as an annotation."""
        return hints.hint(ref, self._named, self._make)

    def _named(self, ref: TypeRef) -> Any:
        # A type that stands later in its interface is known by its name alone.
        return self.of(ref.interface).get(camel(ref.name), camel(ref.name))

    def _define(self, interface: Interface, one: NamedType, classes: dict[str, Any]) -> None:
        name, module = camel(one.name), interface.name or "world"
        if one.kind == "record":
            fields = [(snake(m.name), self.hint(m.type)) for m in one.members]
            classes[name] = _dataclass(name, fields, one.docs, module)
        elif one.kind == "variant":
            union: Any = None
            for member in one.members:
                fields = [("value", self.hint(member.type))] if member.type else []
                case = case_class(one.name, member.name)
                classes[case] = _dataclass(case, fields, member.docs, module)
                union = classes[case] if union is None else union | classes[case]
            classes[name] = union
        elif one.kind == "enum":
            members = [(upper(member.name), at) for at, member in enumerate(one.members)]
            classes[name] = enum.Enum(name, members, module=module)
        elif one.kind == "flags":
            bits = [(upper(member.name), 1 << at) for at, member in enumerate(one.members)]
            classes[name] = enum.Flag(name, bits, module=module)


def _dataclass(name: str, fields: list[Any], docs: str | None, module: str) -> type[Any]:
    cls = dataclasses.make_dataclass(name, fields, namespace={"__doc__": docs or name})
    cls.__module__ = module
    return cls
