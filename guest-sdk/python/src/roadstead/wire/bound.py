"""Which Python class stands for which message or enum.

Generated bindings and classes made at runtime look the same from here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Record:
    """A class whose attributes stand in the order of the record's fields."""

    cls: type[Any]
    attributes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Variant:
    """A class for each case by its WIT name; those with a payload hold it as `value`."""

    cases: Mapping[str, type[Any]]


@dataclass(frozen=True, slots=True)
class Enumeration:
    """The member of each case by its WIT name."""

    members: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class FlagSet:
    """The bit of each flag by its WIT name, and the class."""

    cls: type[Any]
    bits: Mapping[str, Any]


Bound = Record | Variant | Enumeration | FlagSet


class Handles(Protocol):
    """What makes objects of handles, and handles of objects."""

    def object_of(self, resource: str, id: bytes, owned: bool) -> Any:
        """The object behind a handle of the resource's service."""

    def id_of(self, resource: str, value: Any, owned: bool) -> bytes:
        """The handle's id. Raises BadValue for what is no live object of the resource."""
