"""How WIT names are written in Python: as componentize-py writes them."""

from __future__ import annotations

import keyword
from collections.abc import Iterable


def snake(name: str) -> str:
    """`text-stats` → `text_stats`; a keyword gets a `_` behind it."""
    return escape(name.replace("-", "_").lower())


def camel(name: str) -> str:
    """`text-stats` → `TextStats`."""
    return escape("".join(word[:1].upper() + word[1:].lower() for word in name.split("-")))


def upper(name: str) -> str:
    """`deep-blue` → `DEEP_BLUE`."""
    return name.replace("-", "_").upper()


def escape(name: str) -> str:
    """The name, or one that is no keyword."""
    return f"{name}_" if keyword.iskeyword(name) else name


def case_class(variant: str, case: str) -> str:
    """The class of a variant's case: `lot`, `named-list` → `Lot_NamedList`."""
    return f"{camel(variant)}_{camel(case)}"


def interface_names(ids: Iterable[str]) -> dict[str, str]:
    """A kebab name for each interface: its own, or with its package in front where several share it."""
    ids = list(ids)
    names: dict[str, str] = {}
    for one in ids:
        candidates = _candidates(one)
        others = [_candidates(other) for other in ids if other != one]
        free = (
            name
            for at, name in enumerate(candidates)
            if all(other[min(at, len(other) - 1)] != name for other in others)
        )
        names[one] = next(free, candidates[-1])
    return names


def _candidates(one: str) -> list[str]:
    package, slash, rest = one.rpartition("/")
    name, _, version = rest.partition("@")
    if not slash:
        return [name]
    full = f"{package.replace(':', '-')}-{name}"
    return [name, full, f"{full}-{version.replace('.', '-').replace('+', '-')}"]
