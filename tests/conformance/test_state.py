"""Modules with a state."""

import signal

from processes import until
from stage import COUNTER


def test_what_is_durable_outlives_its_server(stage):
    counter = stage(COUNTER, idle="3s", concurrent=["look"])
    module = counter.module()
    assert [module.step() for _ in range(3)] == [1, 2, 3]
    killed = counter.signal(signal.SIGKILL)
    until("its end", lambda: not set(killed) & set(counter.processes()))
    counter.answers()
    assert module.step() == 4
    counter.reaches("idle")
    until("its end", lambda: not counter.processes())
    assert module.step() == 5
    assert is_in_order(notes(module)) == [1, 2, 3]


def test_two_attempts_never_overlap(stage):
    counter = stage(COUNTER, grace="20s", concurrent=["look"])
    module = counter.module()
    assert module.step() == 1
    first = set(counter.processes())
    counter.push(env={"NEW": "1"})
    until("the end of the first", lambda: not first & set(counter.processes()))
    counter.reaches("ready", version="0.1.1")
    assert module.look("env:NEW") == "1"
    assert module.step() == 2
    said = notes(module)
    # What the first did, its last commit among it, is before all that the second did.
    assert is_in_order(said) == [1, 2]
    commits = [what for epoch, what in said if epoch == 1 and what == "commits"]
    assert len(commits) == 2, f"one of its call, one of its end: {said}"


def notes(module):
    """What each attempt wrote, in order."""
    lines = module.look(f"read:{module.look('env:ROADSTEAD_STATE')}/notes").splitlines()
    return [(int(epoch), what) for epoch, what, _ in map(str.split, lines)]


def is_in_order(said):
    """The attempts, none of which wrote after the next began."""
    epochs = [epoch for epoch, _ in said]
    assert epochs == sorted(epochs), said
    return sorted(set(epochs))
