"""The module as a server of its own: the same answers as numpy, and errors with types."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from harness import Served, program

import roadstead
from roadstead.bindings.cli import main
from roadstead.plan import Plan

MODULE = Path(__file__).parents[1]


@pytest.fixture
def linalg(serve: Callable[..., Served], plan: Plan) -> Any:
    return serve(MODULE / "linalg.py", plan).wait().module()


def matrix(linalg: Any, array: Any) -> Any:
    return linalg.Matrix(*array.shape, array.ravel())


def array(matrix: Any) -> Any:
    return np.asarray(matrix.values).reshape(matrix.rows, matrix.columns)


def test_products_equations_and_singular_values_are_numpy_s(linalg: Any) -> None:
    random = np.random.default_rng(5)
    a, b = random.random((4, 3)), random.random((3, 5))
    assert np.allclose(array(linalg.matmul(matrix(linalg, a), matrix(linalg, b))), a @ b)
    square, vector = random.random((6, 6)), random.random(6)
    assert np.allclose(square @ linalg.solve(matrix(linalg, square), vector), vector)
    parts = linalg.svd(matrix(linalg, a))
    assert np.allclose(array(parts.u) @ np.diag(parts.s) @ array(parts.vt), a)


def test_why_there_is_no_answer_has_a_type(linalg: Any) -> None:
    a = matrix(linalg, np.ones((2, 3)))
    for call in (
        lambda: linalg.matmul(a, a),
        lambda: linalg.solve(a, [1.0]),
        lambda: linalg.matmul(linalg.Matrix(2, 2, [1.0]), a),
        lambda: linalg.svd(linalg.Matrix(0, 0, [])),
    ):
        with pytest.raises(roadstead.Err) as raised:
            call()
        assert isinstance(raised.value.value, linalg.Problem_Shape)
    with pytest.raises(roadstead.Err) as raised:
        linalg.solve(matrix(linalg, np.zeros((2, 2))), [1.0, 2.0])
    assert raised.value.value == linalg.Problem_Singular()


def test_numbers_are_described(linalg: Any) -> None:
    said = linalg.describe([1.0, 2.0, 3.0, 6.0])
    assert (said.count, said.mean, said.least, said.most) == (4, 3.0, 1.0, 6.0)
    assert np.isclose(said.deviation, np.std([1, 2, 3, 6]))
    assert linalg.describe([]) is None


def test_large_arrays_go_both_ways(linalg: Any) -> None:
    values = np.random.default_rng(1).random(4 << 20, np.float32)
    scaled = linalg.scale(values, 2.0)
    assert scaled.dtype == np.float32 and np.array_equal(scaled, values * 2)


def test_sums_come_as_the_numbers_do(linalg: Any) -> None:
    chunks = iter([np.ones(3), [2.0], []])
    assert list(linalg.running_sum(chunks)) == [3.0, 5.0, 5.0]


def test_its_bindings_are_up_to_date() -> None:
    gen = ["-o", str(MODULE / "gen"), "--roadstead", str(program()), "--check"]
    assert main([str(MODULE / "wit"), *gen]) == 0


def test_it_is_typed(tmp_path: Path) -> None:
    files = [str(MODULE / "gen"), str(MODULE / "linalg.py")]
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path), *files]
    run = subprocess.run(command, env={"MYPYPATH": str(MODULE / "gen"), "PATH": ""},
                         capture_output=True, text=True, check=False)  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr
