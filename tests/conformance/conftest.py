"""The conformance suite of native modules: every test runs against every backend.

With `-k processes` servers are processes of a host of this machine; with `-k pods` they are pods of
a real node, which needs root and Linux, and the programs of `tests/cluster/tools.sh node`.
"""

import itertools
import signal
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("tests/conformance", "tests/python", "tests/cluster", "k8s/image")
sys.path[:0] = [str(ROOT / folder) for folder in FOLDERS]
pytest.register_assert_rewrite("stage")

from processes import until
from stage import PROBE, Stage, begin

_numbers = itertools.count(1)


@pytest.fixture(scope="session", params=["processes", "pods"])
def backend(request, tmp_path_factory):
    """What runs the modules of all tests; each has modules of its own there."""
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "processes":
        from processes_backend import running
    else:
        from pods_backend import running
    with running(folder) as made:
        yield made


@pytest.fixture(scope="session")
def neighbour(backend):
    """A module beside the others, which none of them may hurt."""
    made = Stage(backend, "neighbour", PROBE, concurrent=["*"])
    made.push()
    made.reaches("ready")
    yield made
    made.delete()
    made.is_gone()


@pytest.fixture
def stage(backend):
    """Makes modules, and pushes them; all of them go with the test."""
    made = []

    def make(program, limits=None, **native):
        one = Stage(backend, f"stage-{next(_numbers)}", program, limits, **native)
        made.append(one)
        one.push()
        return one

    yield make
    for one in made:
        one.delete()
    for one in made:
        one.is_gone()


@pytest.fixture
def kill_while():
    """Begins a call, and kills its server with it: the call that comes of it."""

    def kill(one, call, *arguments):
        future = begin(call, *arguments)
        until("it runs", lambda: one.running() == 1)
        one.signal(signal.SIGKILL)
        return future

    return kill
