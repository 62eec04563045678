"""`make demo-learner`: the JAX actor on a throw-away host learns, is killed, and goes on.

Says what was durable before and after, and how long it took.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from model import target

import roadstead
from roadstead.errors import CallError

MODULE = Path(__file__).parent
ROOT = MODULE.parents[1]
PATIENCE = 120.0


@contextmanager
def host(program: str, data: Path) -> Iterator[str]:
    """The address of a host that runs until the end."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("ROADSTEAD_")}
    command = [program, "serve", "--native", "--listen", "127.0.0.1:0", "--data-dir", str(data)]
    with (
        open(data.with_suffix(".log"), "w") as log,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=log, text=True, cwd=ROOT, env=environment
        ) as process,
    ):
        assert process.stdout is not None
        said = re.search(r"listening on (\S+)", process.stdout.readline())
        if said is None:
            raise SystemExit(f"the host did not start:\n{Path(log.name).read_text()}")
        try:
            yield said[1]
        finally:
            process.terminate()
            process.wait()


def server(data: Path) -> int:
    """The process that serves the actor: the one whose socket lies in the host's data."""
    for directory in Path("/proc").iterdir():
        try:
            environment = (directory / "environ").read_bytes()
            command = (directory / "cmdline").read_bytes()
        except OSError:
            continue
        if f"ROADSTEAD_SOCKET={data}".encode() in environment and b"learner.py" in command:
            return int(directory.name)
    raise SystemExit("the actor does not run")


def main() -> None:
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    program = os.environ.get("ROADSTEAD_BIN", "target/release/roadstead")
    with tempfile.TemporaryDirectory() as scratch:
        data = Path(scratch) / "data"
        with host(str(ROOT / program), data) as address:
            show(program, data, address)
    print("\nThe host is stopped and its data is gone.")


def show(program: str, data: Path, address: str) -> None:
    print(f"1. a throw-away host listens on {address}")
    began = time.monotonic()
    spec = str(MODULE / "roadstead.yaml")
    push = [program, "--host", f"http://{address}", "push", "--native", spec]
    subprocess.run(push, check=True, cwd=ROOT)
    learner = roadstead.connect(address, timeout=PATIENCE).module("learner")
    learner.status()
    print(f"2. the actor answers {time.monotonic() - began:.1f} s after its push began\n")

    print("3. it learns by calls of `step`; what is durable it says itself")
    for _ in range(4):
        print(f"  {told(learner.step(330))}")
    before = learner.status()

    print("\n4. kill -9 of its process")
    began = time.monotonic()
    os.kill(server(data), signal.SIGKILL)
    while True:
        try:
            after = learner.status()
            break
        except CallError as error:
            print(f"  a call that it had: {error}")
    print(f"  restored after {time.monotonic() - began:.1f} s: {told(after)}")
    lost, durable = before.step - after.step, before.durable_step - after.step
    print(f"  lost {lost} steps of {before.step}, of the durable ones {durable}")

    print("\n5. it goes on")
    print(f"  {told(learner.step(2000))}")
    points = np.array([[0.5, 0.5], [-0.5, 1.0]], dtype=np.float32)
    for point, value in zip(points, learner.predict(points.ravel()), strict=True):
        print(f"  at {point} it says {value:.3f}; right is {target(point):.3f}")


def told(progress: Any) -> str:
    step, durable = progress.step, progress.durable_step
    return f"step {step}, durable {durable}, loss {progress.loss:.4f}"


if __name__ == "__main__":
    main()
