"""Python type hints of WIT types, as text for generated code or as objects for signatures."""

from __future__ import annotations

import types
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any, Optional, TypeVar, Union

from . import types as values
from .plan import TypeRef

H = TypeVar("H")

_PLAIN = {"bool": "bool", "string": "str", "char": "str", "f32": "float", "f64": "float"}
# What makes a hint of a name and its arguments.
Make = Callable[[str, list[H]], H]


def hint(ref: TypeRef | None, named: Callable[[TypeRef], H], make: Make[H]) -> H:
    """The hint of a type. `named` gives that of a type with a name, `make` that of anything else."""

    def of(ref: TypeRef | None) -> H:
        if ref is None:
            return make("None", [])
        args = ref.args
        match ref.kind:
            case "scalar":
                return make(_PLAIN.get(ref.scalar, "int"), [])
            case "list":
                return _list(args[0], of, make)
            case "option":
                inner = of(args[0])
                nested = args[0] is not None and args[0].kind == "option"
                return make("Optional", [make("Some", [inner]) if nested else inner])
            case "map":
                return make("Dict", [make(_PLAIN.get(ref.scalar, "int"), []), of(args[0])])
            case "tuple":
                return make("Tuple", [of(arg) for arg in args]) if args else make("Tuple[()]", [])
            case "result":
                return make("Result", [of(arg) for arg in args])
            case "stream":
                if is_u8(args[0]):
                    return make("ByteStream", [])
                return make("Stream", [of(args[0])])
            case "future":
                return make("Future", [of(args[0])])
        return named(ref)

    return of(ref)


def _list(item: TypeRef | None, of: Callable[[TypeRef | None], H], make: Make[H]) -> H:
    if item is not None and item.kind == "scalar" and item.scalar[0] in "usf":
        if item.scalar != "string":
            return make(f"{item.scalar.upper()}s", [])
    return make("List", [of(item)])


def is_u8(ref: TypeRef | None) -> bool:
    """Whether it is the type of a byte, lists and streams of which are bytes."""
    return ref is not None and ref.kind == "scalar" and ref.scalar == "u8"


def returned(ref: TypeRef | None) -> TypeRef | None:
    """What a function with this result returns: of a `result`, its good case."""
    return ref.args[0] if ref is not None and ref.kind == "result" else ref


def text(name: str, args: list[str]) -> str:
    """A hint as text. Of a stream it is any that a function may give."""
    return f"{name}[{', '.join(args)}]" if args else name


def text_of_parameter(name: str, args: list[str]) -> str:
    """A hint as text. A stream that a function gets has always the same class."""
    return text(f"{name}Reader" if name in ("Stream", "ByteStream", "Future") else name, args)


def _arrays() -> dict[str, Any]:
    try:
        import numpy as np
    except ImportError:
        return {}
    numbers = {f"{sign}{bits}": f"{word}{bits}" for sign, word in (("u", "uint"), ("s", "int"))
               for bits in (8, 16, 32, 64)}  # fmt: skip
    numbers |= {"f32": "float32", "f64": "float64"}
    return {
        f"{name.upper()}s": types.GenericAlias(
            np.ndarray, (Any, types.GenericAlias(np.dtype, (getattr(np, dtype),)))
        )
        for name, dtype in numbers.items()
        if name != "u8"
    }


_OBJECTS: dict[str, Any] = {
    "None": None, "bool": bool, "int": int, "float": float, "str": str,
    "Optional": Optional, "Some": values.Some, "Result": values.Result,
    "List": list, "Dict": dict, "Tuple": tuple, "Tuple[()]": tuple[()],
    "U8s": Union[bytes, bytearray, memoryview],
    **{f"{one}s": Sequence[int] for one in ("U16", "U32", "U64", "S8", "S16", "S32", "S64")},
    **{f"{one}s": Sequence[float] for one in ("F32", "F64")},
    **_arrays(),
}  # fmt: skip


def objects(streams: bool) -> Make[Any]:
    """Makes hints as objects. `streams`: those are asynchronous iterators, else plain ones."""
    iterator: Any = AsyncIterator if streams else Iterator

    def make(name: str, args: list[Any]) -> Any:
        if name == "Stream":
            return iterator[args[0]]
        if name == "ByteStream":
            return iterator[bytes]
        if name == "Future":
            return args[0]
        found = _OBJECTS[name]
        if not args:
            return found
        return found[args[0] if len(args) == 1 else tuple(args)]

    return make
