"""Linear algebra and statistics with numpy: a native module, `roadstead-native linalg.py`."""

from __future__ import annotations

from collections.abc import AsyncIterator

import numpy as np
from componentize_py_types import Err
from numpy.typing import NDArray
from wit_world import exports
from wit_world.exports.linalg import (
    Decomposition,
    Matrix,
    Problem_Diverged,
    Problem_Shape,
    Problem_Singular,
    Summary,
)

from roadstead.native import concurrent
from roadstead.native.streams import Stream, StreamReader
from roadstead.types import F32s, F64s

Array = NDArray[np.float64]


class Linalg(exports.Linalg):
    """Keeps nothing between calls, so all of them may run beside each other."""

    @concurrent
    def matmul(self, a: Matrix, b: Matrix) -> Matrix:
        left, right = _array(a), _array(b)
        if left.shape[1] != right.shape[0]:
            raise Err(Problem_Shape(f"{_size(left)} times {_size(right)}"))
        return _matrix(left @ right)

    @concurrent
    def solve(self, a: Matrix, b: F64s) -> F64s:
        matrix, vector = _array(a), np.asarray(b, np.float64)
        if matrix.shape != (vector.size, vector.size):
            raise Err(Problem_Shape(f"{_size(matrix)} for a vector of {vector.size}"))
        try:
            return np.linalg.solve(matrix, vector).astype(np.float64)
        except np.linalg.LinAlgError:
            raise Err(Problem_Singular()) from None

    @concurrent
    def svd(self, a: Matrix) -> Decomposition:
        matrix = _array(a)
        if matrix.size == 0:
            raise Err(Problem_Shape(f"{_size(matrix)} has no singular values"))
        try:
            u, s, vt = np.linalg.svd(matrix, full_matrices=False)
        except np.linalg.LinAlgError:
            raise Err(Problem_Diverged()) from None
        return Decomposition(_matrix(u), s, _matrix(vt))

    @concurrent
    def describe(self, values: F64s) -> Summary | None:
        numbers = np.asarray(values, np.float64)
        if numbers.size == 0:
            return None
        return Summary(
            count=numbers.size,
            mean=float(numbers.mean()),
            deviation=float(numbers.std()),
            least=float(numbers.min()),
            most=float(numbers.max()),
        )

    @concurrent
    def scale(self, values: F32s, factor: float) -> F32s:
        return np.asarray(values, np.float32) * np.float32(factor)

    @concurrent
    async def running_sum(self, chunks: StreamReader[F64s]) -> Stream[float]:
        return _sums(chunks)


async def _sums(chunks: StreamReader[F64s]) -> AsyncIterator[float]:
    total = 0.0
    async for chunk in chunks:
        total += float(np.sum(chunk))
        yield total


def _array(matrix: Matrix) -> Array:
    values = np.asarray(matrix.values, np.float64)
    if values.size != matrix.rows * matrix.columns:
        raise Err(Problem_Shape(f"{values.size} numbers for {matrix.rows} × {matrix.columns}"))
    return values.reshape(matrix.rows, matrix.columns)


def _matrix(array: Array) -> Matrix:
    rows, columns = array.shape
    return Matrix(rows, columns, array.ravel())


def _size(array: Array) -> str:
    return " × ".join(map(str, array.shape))
