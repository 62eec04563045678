"""Actors: what was committed is there again, and of two attempts only the newer commits."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from harness import PATIENCE, Planned, Served

import roadstead
from roadstead.native import Checkpoints, StaleAttempt

WIT = """package demo:tally@0.1.0;
interface tally {
  record standing { count: u64, durable: u64 }
  add: func(n: u64) -> standing;
  save: func() -> standing;
}
world module { export tally; }
"""

MODULE = """
import time
from roadstead.native import Actor
from wit_world import exports
from wit_world.exports.tally import Standing


class Tally(exports.Tally, Actor):
    def __init__(self):
        self.count = self.durable = 0

    def restore(self, epoch, path):
        if path is not None:
            self.count = self.durable = int(path.read_text())

    def checkpoint(self, epoch, path):
        path.write_text(str(self.count))

    def add(self, n):
        self.count += n
        return Standing(self.count, self.durable)

    def save(self):
        self.commit()
        self.durable = self.count
        return Standing(self.count, self.durable)
"""


@pytest.fixture(scope="module")
def tally(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Planned]:
    planned = Planned(tmp_path_factory.mktemp("tally") / "planned", WIT)
    planned.bindings()
    module = planned.directory / "tally_module.py"
    module.write_text(MODULE)
    return module, planned


Attempt = Callable[[int], Served]


@pytest.fixture
def attempt(
    tally: tuple[Path, Planned], serve: Callable[..., Served], tmp_path: Path
) -> Attempt:
    module, planned = tally
    return lambda epoch: serve(
        module, planned.plan, ROADSTEAD_STATE=str(tmp_path / "state"), ROADSTEAD_EPOCH=str(epoch)
    )


def standing(served: Served) -> tuple[int, int]:
    now = served.module().add(0)
    return now.count, now.durable


def test_what_is_durable_outlives_a_kill_and_the_rest_does_not(attempt: Attempt) -> None:
    first = attempt(1).wait()
    first.module().add(5)
    assert first.module().save().durable == 5
    first.module().add(2)
    assert standing(first) == (7, 5)
    first.stop(signal.SIGKILL)
    assert standing(attempt(2).wait()) == (5, 5)


def test_a_graceful_stop_makes_everything_durable(attempt: Attempt) -> None:
    first = attempt(1).wait()
    first.module().add(3)
    assert first.stop() == 0
    assert standing(attempt(2).wait()) == (3, 3)


def test_an_attempt_that_nobody_numbered_takes_the_next_epoch(
    attempt: Attempt, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    first = attempt(0).wait()
    first.module().add(3)
    assert first.module().save().durable == 3
    assert (state / "epoch").read_text() == "1\n"
    first.stop(signal.SIGKILL)
    assert standing(attempt(0).wait()) == (3, 3)
    assert (state / "epoch").read_text() == "2\n"
    old, new = Checkpoints(state, 0), Checkpoints(state, 0)
    old.claim()
    new.claim()
    assert (old.epoch, new.epoch) == (3, 4)
    with pytest.raises(StaleAttempt):
        old.commit(write("late"))
    new.commit(write("newest"))


def test_a_stale_attempt_cannot_commit_and_ends(attempt: Attempt) -> None:
    old, new = attempt(1).wait(), attempt(2).wait()
    old.module().add(9)
    with pytest.raises(roadstead.Unavailable) as refused:
        old.host().with_plan(old.plan.text).with_options(timeout=3).save()
    assert refused.value.reason in ("INTERRUPTED", "")
    assert old.process.wait(PATIENCE) == 1
    new.module().add(1)
    assert new.module().save().durable == 1
    new.stop(signal.SIGKILL)
    assert standing(attempt(3).wait()) == (1, 1)


def test_an_attempt_that_comes_too_late_does_not_start(attempt: Attempt) -> None:
    attempt(5).wait()
    late = attempt(4)
    assert late.process.wait(PATIENCE) == 1
    assert "attempt 5 has begun" in late.log.read_text()


def test_an_actor_without_a_directory_does_not_start(
    tally: tuple[Path, Planned], serve: Callable[..., Served]
) -> None:
    module, planned = tally
    served = serve(module, planned.plan)
    assert served.process.wait(PATIENCE) == 1
    assert "ROADSTEAD_STATE" in served.log.read_text()


def write(text: str) -> Callable[[Path], None]:
    def written(path: Path) -> None:
        path.write_text(text)

    return written


def test_checkpoints_are_whole_or_not_there(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "state", 1)
    checkpoints.claim()
    assert checkpoints.latest() is None
    checkpoints.commit(write("one"))

    def half(path: Path) -> None:
        path.mkdir()
        (path / "part").write_text("half")
        raise OSError("full")

    with pytest.raises(OSError, match="full"):
        checkpoints.commit(half)
    latest = checkpoints.latest()
    assert latest is not None and latest.read_text() == "one"
    assert not list((tmp_path / "state").glob(".writing-*"))


def test_threads_that_commit_at_once_commit_one_after_the_other(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "state", 1)
    checkpoints.claim()
    writing, most, committed = set[int](), list[int](), list[Path]()

    def slowly(path: Path) -> None:
        writing.add(threading.get_ident())
        most.append(len(writing))
        with path.open("x") as file:
            for _ in range(10):
                file.write("x")
                file.flush()
                time.sleep(0.001)
        writing.discard(threading.get_ident())

    def several() -> None:
        for _ in range(5):
            committed.append(checkpoints.commit(slowly))
            latest = checkpoints.latest()
            assert latest is not None

    threads = [threading.Thread(target=several) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert len(set(committed)) == 20 and max(most) == 1
    assert {path.read_text() for path in (tmp_path / "state").glob("checkpoint-*")} == {"x" * 10}


def test_what_a_killed_attempt_left_is_removed(tmp_path: Path) -> None:
    state = tmp_path / "state"
    Checkpoints(state, 1).claim()
    (state / ".writing-1-77").mkdir()
    (state / ".writing-1-77/x").write_text("half")
    Checkpoints(state, 2).claim()
    assert not list(state.glob(".writing-*"))


def test_old_checkpoints_go_and_directories_are_kept_whole(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "state", 1)
    checkpoints.claim()

    def directory(path: Path) -> None:
        (path / "inner").mkdir(parents=True)
        (path / "inner/file").write_text("x")

    for _ in range(5):
        checkpoints.commit(directory)
    assert len(list((tmp_path / "state").glob("checkpoint-*"))) == 2
    latest = checkpoints.latest()
    assert latest is not None and (latest / "inner/file").read_text() == "x"
    assert latest.name.endswith("-1") and "000000000005" in latest.name


def test_a_newer_attempt_between_writing_and_committing_wins(tmp_path: Path) -> None:
    old, new = Checkpoints(tmp_path / "state", 1), Checkpoints(tmp_path / "state", 2)
    old.claim()

    def overtaken(path: Path) -> None:
        path.write_text("old")
        new.claim()
        new.commit(write("new"))

    with pytest.raises(StaleAttempt):
        old.commit(overtaken)
    latest = new.latest()
    assert latest is not None and latest.read_text() == "new"
    with pytest.raises(StaleAttempt):
        old.claim()


RACER = """
import sys
from pathlib import Path
from roadstead.native.checkpoints import Checkpoints, StaleAttempt

epoch = int(sys.argv[2])
try:
    checkpoints = Checkpoints(Path(sys.argv[1]), epoch)
    checkpoints.claim()
    for count in range(20):
        checkpoints.commit(lambda path: path.write_text(f"{epoch} {count}"))
except StaleAttempt:
    sys.exit(7)
"""


def test_attempts_in_several_processes_leave_one_history(tmp_path: Path) -> None:
    state = str(tmp_path / "state")
    command = [sys.executable, "-c", RACER, state]
    racers = [subprocess.Popen([*command, str(epoch)]) for epoch in range(1, 5)]
    codes = [racer.wait(PATIENCE) for racer in racers]
    assert set(codes) <= {0, 7} and codes[-1] == 0
    latest = Checkpoints(tmp_path / "state", 4).latest()
    assert latest is not None and latest.read_text() == "4 19"
