"""The actor on a host, by its own spec: what is durable outlives the host."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness import program

import roadstead

MODULE = Path(__file__).parents[1]
ROOT = MODULE.parents[1]
PATIENCE = 300.0


@contextmanager
def hosted(data: Path) -> Iterator[str]:
    """The address of a host."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("ROADSTEAD_")}
    command = [program(), "serve", "--native", "--listen", "127.0.0.1:0", "--data-dir", data]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment
    ) as host:
        assert host.stdout is not None
        said = re.search(r"listening on (\S+)", host.stdout.readline())
        assert said is not None
        yield said[1]
        host.terminate()
        assert host.wait(PATIENCE) == 0


def test_it_learns_on_a_host_and_goes_on_after_it(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with hosted(data) as address:
        spec = MODULE / "roadstead.yaml"
        push = [program(), "--json", "--host", f"http://{address}", "push", "--native", spec]
        pushed = subprocess.run(push, check=True, capture_output=True, text=True)
        assert json.loads(pushed.stdout)["module"]["kind"] == "native"
        learner = roadstead.connect(address, timeout=PATIENCE).module("learner")
        first = learner.step(250)
        assert (first.step, first.durable_step) == (250, 200)
        assert learner.save().durable_step == 250
    with hosted(data) as address:
        learner = roadstead.connect(address, timeout=PATIENCE).module("learner")
        assert learner.status().step == 250
        assert learner.step(750).loss < first.loss
