"""What stands for WIT's `option` and `result` in Python: the same classes as componentize-py makes.

Generated bindings re-export them as `componentize_py_types`, so that one class can run as a
component or as a native module.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar, Union

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

S = TypeVar("S")
T = TypeVar("T")
E = TypeVar("E")


@dataclass
class Some(Generic[S]):
    """A value that is there, where an option holds another option."""

    value: S


@dataclass
class Ok(Generic[T]):
    """The good case of a `result` that stands inside another value."""

    value: T


# Not frozen: `contextlib` and others set a traceback on exceptions that pass through them.
@dataclass(unsafe_hash=True)
class Err(Exception, Generic[E]):
    """A module's own error: raised by functions with a `result`, a value anywhere else."""

    value: E


Result = Union[Ok[T], Err[E]]

if TYPE_CHECKING:
    # A list of numbers is an array when it is read, and any sequence when it is given.
    U8s = Union[bytes, bytearray, memoryview]
    U16s = Union[NDArray[np.uint16], Sequence[int]]
    U32s = Union[NDArray[np.uint32], Sequence[int]]
    U64s = Union[NDArray[np.uint64], Sequence[int]]
    S8s = Union[NDArray[np.int8], Sequence[int]]
    S16s = Union[NDArray[np.int16], Sequence[int]]
    S32s = Union[NDArray[np.int32], Sequence[int]]
    S64s = Union[NDArray[np.int64], Sequence[int]]
    F32s = Union[NDArray[np.float32], Sequence[float]]
    F64s = Union[NDArray[np.float64], Sequence[float]]
else:
    U8s = Union[bytes, bytearray, memoryview]
    U16s = U32s = U64s = S8s = S16s = S32s = S64s = F32s = F64s = Sequence[Any]
