"""The actor as a server of its own: it learns, and what is durable outlives it."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from harness import Served, program

import roadstead
from roadstead.bindings.cli import main
from roadstead.plan import Plan

MODULE = Path(__file__).parents[1]
Attempt = Callable[[int], Served]


@pytest.fixture
def attempt(serve: Callable[..., Served], plan: Plan, tmp_path: Path) -> Attempt:
    state = str(tmp_path / "state")
    return lambda epoch: serve(
        MODULE / "learner.py", plan, ROADSTEAD_STATE=state, ROADSTEAD_EPOCH=str(epoch)
    ).wait()


def test_it_learns(attempt: Attempt) -> None:
    learner = attempt(1).module()
    first, last = learner.step(1), learner.step(1999)
    assert (first.step, last.step) == (1, 2000)
    assert last.loss < first.loss / 2
    points = np.array([0.5, 0.5, -0.3, 0.8], np.float32)
    said = learner.predict(points)
    wanted = np.sin(2 * points[::2]) * points[1::2]
    assert said.shape == (2,) and np.abs(said - wanted).max() < 0.3


def test_what_is_durable_outlives_a_kill(attempt: Attempt) -> None:
    first = attempt(1)
    learner = first.module()
    before = learner.step(250)
    assert (before.step, before.durable_step) == (250, 200)
    first.stop(signal.SIGKILL)
    again = attempt(2).module()
    assert again.status().step == again.status().durable_step == 200
    repeated = again.step(50)
    assert repeated.step == 250
    assert repeated.loss == pytest.approx(before.loss, rel=1e-5), "the same steps, the same model"


def test_saved_steps_are_durable(attempt: Attempt) -> None:
    first = attempt(1)
    first.module().step(3)
    assert first.module().save().durable_step == 3
    first.stop(signal.SIGKILL)
    assert attempt(2).module().status().step == 3


def test_of_two_attempts_the_newer_one_commits(attempt: Attempt) -> None:
    old, new = attempt(1), attempt(2)
    with pytest.raises(roadstead.CallError):
        old.module().with_options(timeout=5).step(100)
    assert new.module().step(100).durable_step == 100


def test_too_many_steps_are_refused(attempt: Attempt) -> None:
    learner = attempt(1).module()
    for count in (0, 10_001):
        with pytest.raises(roadstead.Err) as raised:
            learner.step(count)
        assert isinstance(raised.value.value, learner.Problem_Steps)


def test_its_bindings_are_up_to_date() -> None:
    gen = ["-o", str(MODULE / "gen"), "--roadstead", str(program()), "--check"]
    assert main([str(MODULE / "wit"), *gen]) == 0
