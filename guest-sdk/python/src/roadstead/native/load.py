"""Which classes a module exports, and the plan that their bindings carry."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from .. import classes
from ..bindings.generate import Layout
from ..bindings.plans import DESCRIPTORS, PLAN
from ..plan import BadPlan, Plan
from ..wire import bound
from .service import ModuleError

_BINDINGS = "wit_world"


@dataclass(frozen=True)
class Loaded:
    """The bindings of a module, and the class that implements each exported interface."""

    plan: Plan
    descriptors: bytes
    classes: dict[str, bound.Bound]
    exports: dict[str | None, type[Any]]


def load(given: Iterable[type[Any]]) -> Loaded:
    """Finds the bindings behind classes. Raises ModuleError where they do not fit."""
    given = list(given)
    bindings = _bindings(given)
    plan, descriptors = _read(bindings)
    if resources := plan.resources():
        raise ModuleError(
            f"the WIT exports the resource {resources[0]}, and native modules cannot yet: "
            "functions that take and return an id do"
        )
    layout = Layout(plan)
    exports = {}
    for interface in plan.interfaces:
        if interface.exported:
            base = layout.base(interface) if interface.id else "WitWorld"
            module = f"{_BINDINGS}.exports" if interface.id else _BINDINGS
            exports[interface.id] = _implementing(given, module, base)
    names = {one.id: f"{_BINDINGS}.{layout.path(one).replace('/', '.')}"
             for one in plan.interfaces if one.id}  # fmt: skip

    def find(id: str | None, name: str) -> type[Any]:
        found: type[Any] = getattr(importlib.import_module(names[id] if id else _BINDINGS), name)
        return found

    return Loaded(plan, descriptors, classes.bind(plan, find), exports)


def classes_of(module: ModuleType) -> list[type[Any]]:
    """The classes of a Python module that implement something of the WIT."""
    found = [one for one in vars(module).values() if isinstance(one, type)]
    return [one for one in found if one.__module__ == module.__name__ and _bases(one)]


def _bases(one: type[Any]) -> list[type[Any]]:
    homes = (_BINDINGS, f"{_BINDINGS}.exports")
    return [base for base in one.__mro__[1:] if base.__module__ in homes]


def _bindings(given: list[type[Any]]) -> ModuleType:
    for one in given:
        if not _bases(one):
            raise ModuleError(
                f"{one.__name__} derives from no base class of {_BINDINGS}.exports: "
                "make bindings with roadstead-bindings"
            )
    if not given:
        raise ModuleError("no class derives from a base class of wit_world.exports")
    return sys.modules[_BINDINGS]


def _read(bindings: ModuleType) -> tuple[Plan, bytes]:
    directory = Path(bindings.__file__ or "").parent
    try:
        return Plan.parse((directory / PLAN).read_text()), (directory / DESCRIPTORS).read_bytes()
    except (OSError, BadPlan) as error:
        raise ModuleError(
            f"{directory} is not what roadstead-bindings writes: {error}"
        ) from None


def _implementing(given: list[type[Any]], module: str, base: str) -> type[Any]:
    wanted = [
        one for one in given
        if any((other.__module__, other.__name__) == (module, base) for other in _bases(one))
    ]  # fmt: skip
    if len(wanted) != 1:
        count = "no class" if not wanted else f"{len(wanted)} classes"
        raise ModuleError(f"{count} given derive from {module}.{base}: one must")
    return wanted[0]
