"""The files of a package `wit_world`, laid out as componentize-py lays them out.

So `from wit_world import exports` and the rest mean the same to a class whether it runs as a
component or as a native module.
"""

from __future__ import annotations

from ..names import camel, interface_names, snake
from ..plan import Interface, Plan, TypeRef
from . import source
from .plans import DESCRIPTORS, PLAN

_TYPES = '''"""What componentize-py calls its types of `option` and `result`."""

from roadstead.types import Err, Ok, Result, Some

__all__ = ["Err", "Ok", "Result", "Some"]
'''
_SUPPORT = '''"""What componentize-py calls its support of asynchronous functions."""

from roadstead.native.streams import spawn

__all__ = ["spawn"]
'''
_STREAMS = '''"""What componentize-py calls its streams."""

from roadstead.native.streams import (
    ByteStreamReader,
    ByteStreamWriter,
    StreamReader,
    StreamWriter,
)

__all__ = ["ByteStreamReader", "ByteStreamWriter", "StreamReader", "StreamWriter"]
'''
_FUTURES = '''"""What componentize-py calls its futures."""

from roadstead.native.streams import FutureReader, FutureWriter

__all__ = ["FutureReader", "FutureWriter"]
'''


def generate(plan: Plan, descriptors: bytes) -> dict[str, bytes]:
    """The bindings' files by their paths."""
    layout = Layout(plan)
    texts = {
        "componentize_py_types.py": _TYPES,
        "componentize_py_async_support/__init__.py": _SUPPORT,
        "componentize_py_async_support/streams.py": _STREAMS,
        "componentize_py_async_support/futures.py": _FUTURES,
        "wit_world/__init__.py": source.world(layout),
        "wit_world/exports/__init__.py": source.exports(layout),
        "wit_world/imports/__init__.py": source.header("Interfaces whose types are used."),
        f"wit_world/{PLAN}": plan.text,
    }
    for interface in plan.interfaces:
        if interface.id is not None:
            texts[f"wit_world/{layout.path(interface)}.py"] = source.interface(layout, interface)
    files = {name: text.encode() for name, text in texts.items()}
    return {**files, f"wit_world/{DESCRIPTORS}": descriptors}


class Layout:
    """Which Python module has which interface."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._names = interface_names(one.id for one in plan.interfaces if one.id is not None)
        self._by_id = {one.id: one for one in plan.interfaces}

    @property
    def own(self) -> Interface:
        """The world's own types and functions."""
        return self._by_id.get(None) or Interface(None, None, False, None, (), ())

    def exported(self) -> list[Interface]:
        """The exported interfaces with an id."""
        return [one for one in self.plan.interfaces if one.exported and one.id is not None]

    def module(self, interface: Interface) -> str:
        """The name of the interface's Python module."""
        return snake(self._names[interface.id or ""])

    def base(self, interface: Interface) -> str:
        """The name of the interface's base class."""
        return camel(self._names[interface.id or ""])

    def path(self, interface: Interface) -> str:
        """Where the interface's module stands in `wit_world`."""
        return f"{'exports' if interface.exported else 'imports'}/{self.module(interface)}"

    def interface_of(self, ref: TypeRef) -> Interface:
        """The interface that declares a named type."""
        return self._by_id[ref.interface]
