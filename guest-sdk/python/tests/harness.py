"""Plans and bindings of WIT text, by the program `roadstead`; and servers to call."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest

import roadstead
from roadstead.bindings import generate, read_plan
from roadstead.plan import Plan

ROOT = Path(__file__).parents[3]
PATIENCE = 60.0


def program() -> Path:
    return Path(os.environ.get("ROADSTEAD_BIN") or ROOT / "target/debug/roadstead").absolute()


class Planned:
    """A WIT text with what is derived of it."""

    def __init__(self, directory: Path, wit: str) -> None:
        self.directory = directory
        (directory / "wit").mkdir(parents=True)
        (directory / "wit/world.wit").write_text(wit)
        self.plan, self.descriptors = read_plan(directory / "wit", program=program())

    def bindings(self) -> Path:
        """The directory `gen` with the bindings."""
        gen = self.directory / "gen"
        for name, data in generate(self.plan, self.descriptors).items():
            (gen / name).parent.mkdir(parents=True, exist_ok=True)
            (gen / name).write_bytes(data)
        return gen


class Served:
    """A native module in a process of its own."""

    def __init__(
        self, module: Path, plan: Plan, log_file: Path, environment: dict[str, str], *arguments: str
    ) -> None:
        self.socket = Path(environment["ROADSTEAD_SOCKET"])
        command = ["-m", "roadstead.native", str(module), *arguments]
        if arguments == ("--script",):
            command = [str(module)]
        self.plan = plan
        self.log = log_file
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, *command],
                env={**os.environ, **environment},
                stdout=log,
                stderr=log,
            )
        self.target = f"unix:{self.socket}"

    def wait(self) -> Served:
        """Until the module is ready, by its health."""
        from grpc_health.v1 import health_pb2, health_pb2_grpc

        until = time.monotonic() + PATIENCE
        while time.monotonic() < until and self.process.poll() is None:
            with grpc.insecure_channel(self.target) as channel:
                try:
                    asked = health_pb2.HealthCheckRequest()
                    answer = health_pb2_grpc.HealthStub(channel).Check(asked, timeout=5)
                    if answer.status == health_pb2.HealthCheckResponse.SERVING:
                        return self
                except grpc.RpcError:
                    pass
            time.sleep(0.05)
        raise AssertionError(f"not ready: {self.log.read_text()}")

    def host(self) -> roadstead.Host:
        """Calls the module without a host between."""
        return roadstead.connect(self.target, timeout=PATIENCE)

    def module(self) -> roadstead.Module:
        return self.host().with_plan(self.plan.text)

    def stop(self, number: int = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(PATIENCE)


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Served]]:
    """Serves a Python file with bindings in `gen` beside it."""
    running: list[Served] = []

    def start(module: Path, plan: Plan, *arguments: str, **environment: str) -> Served:
        environment.setdefault("ROADSTEAD_SOCKET", str(tmp_path / f"module-{len(running)}.sock"))
        log = tmp_path / f"module-{len(running)}.log"
        running.append(Served(module, plan, log, environment, *arguments))
        return running[-1]

    yield start
    for one in running:
        one.stop(signal.SIGKILL)


