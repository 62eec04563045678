"""A module of the fixtures on a backend: pushed and called as a user does, and looked at."""

import json
import os
import signal
import uuid
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from harness import varints
from processes import PATIENCE, until

import roadstead

FIXTURES = Path(__file__).resolve().parents[2] / "host/crates/native/tests/fixtures/probe"
# Modules of the Python package, without and with a state; and one that lies as `LIE` says.
PROBE, COUNTER, LIAR = "probe.py", "counter.py", "liar.py"
SERVICE = "demo.probe.probe.v0_1.Probe"
# Whose processes are whose.
MARK = "STAGE"
# Hundredths of a second between two looks: what probes take.
STILL = 4


class Stage:
    """What is given beside the limits is set in the `native` of its spec."""

    def __init__(self, backend, name: str, program: str, limits=None, **native) -> None:
        self.backend, self.name, self.program = backend, name, program
        self.mark = f"{MARK}={uuid.uuid4().hex}"
        self.limits, self.native = {"deadline": f"{PATIENCE}s", **(limits or {})}, native
        self.folder = backend.folder / name
        self.folder.mkdir()

    def push(self, **native) -> str:
        """Publishes the module with what is given beside the rest; its version."""
        self.backend.cli("push", *self.spec(**native))
        return self.described()["versions"][0]["version"]

    def spec(self, **native) -> tuple:
        """What `push` takes."""
        self.native |= native
        env = {MARK: self.mark.partition("=")[2], **self.native.get("env", {})}
        whole = {"activation_timeout": f"{PATIENCE}s", **self.backend.runs(self.program)}
        if self.program == COUNTER:
            whole["stateful"] = True
        spec = {"name": self.name, "wit": str(FIXTURES / "wit"), "limits": self.limits}
        spec["native"] = whole | self.native | {"env": env}
        file = self.folder / "spec.yaml"
        file.write_text(yaml.safe_dump(spec))
        return "--native", file

    def delete(self) -> None:
        self.backend.cli("delete", self.name)

    def is_gone(self) -> None:
        """Waits until nothing of it runs."""
        until(f"the end of {self.name}", lambda: not self.processes())

    def module(self, version: str | None = None):
        """The module as an object, or a version of it."""
        name = f"{self.name}@{version}" if version else self.name
        return self.backend.host.module(name)

    def call(self, method: str, request: bytes) -> bytes:
        """A call whose request may be no message at all."""
        path = f"/{SERVICE}/{method}"
        metadata = [*self.backend.metadata, ("roadstead-module", self.name)]
        return self.backend.channel.unary_unary(path)(request, metadata=metadata, timeout=PATIENCE)

    def described(self) -> dict:
        return json.loads(self.backend.cli("--json", "describe", self.name).stdout)

    def standing(self, version: str | None = None) -> dict:
        """How a version's servers are, the newest's unless it is named."""
        versions = self.described()["versions"]
        found = (one for one in versions if version in (None, one["version"]))
        return next(found)["native"]

    def reaches(self, *states: str, because: str = "", version: str | None = None) -> dict:
        """Waits until it stands in one of these ways, for that reason."""
        seen: dict = {}

        def is_so() -> bool:
            nonlocal seen
            seen = self.standing(version)
            return seen["state"] in states and because in seen.get("reason", "")

        try:
            until(f"{self.name} is {' or '.join(states)}", is_so)
        except AssertionError as error:
            raise AssertionError(f"{error}: {seen}\n{self.backend.told(self)}") from None
        return seen

    def rests(self) -> None:
        """Waits until no call of it runs."""
        until("its calls are over", lambda: self.running() == 0)

    def running(self) -> int:
        """Calls that the host has begun, and not ended."""
        return int(self.described()["usage"].get("running", 0))

    def settles(self) -> None:
        """Waits until its servers do next to nothing."""
        used = self._ticks()

        def is_still() -> bool:
            nonlocal used
            before, used = used, self._ticks()
            return used - before < STILL

        until("its servers wait", is_still)

    def _ticks(self) -> int:
        """Of the processor, that its servers had."""
        stats = [Path(f"/proc/{one}/stat").read_text() for one in self.processes()]
        return sum(sum(map(int, stat.rsplit(")", 1)[1].split()[11:13])) for stat in stats)

    def processes(self) -> list[int]:
        """Its servers, wherever they run on this machine."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if self.program.encode() not in (folder / "cmdline").read_bytes():
                    continue
                if self.mark.encode() in (folder / "environ").read_bytes().split(b"\0"):
                    found.append(int(folder.name))
            except OSError:
                continue
        return found

    def signal(self, sign: signal.Signals, at_most: int | None = None) -> list[int]:
        """Sends it to what serves the module, once something does; who had it."""
        until("its servers", self.processes)
        had = self.processes()[:at_most]
        for process in had:
            os.kill(process, sign)
        return had

    @contextmanager
    def opened(self, method: str, number: int) -> Iterator[Iterator[bytes]]:
        """A stream of answers that ends with the block; a message that is read is not looked at."""
        path = f"/{SERVICE}/{method}"
        metadata = [*self.backend.metadata, ("roadstead-module", self.name)]
        opens = self.backend.channel.unary_stream(path)
        stream = opens(varints(number), metadata=metadata, timeout=PATIENCE)
        try:
            yield stream
        finally:
            stream.cancel()

    def answers(self) -> None:
        """Waits until a call is answered, whatever becomes of those before."""

        def does() -> bool:
            try:
                return bytes(self.module().echo(b"x")) == b"x"
            except roadstead.CallError:
                return False

        until(f"{self.name} answers", does)

    def waits(self) -> None:
        """Waits until the server has a call of `wait`."""
        until("a call of wait", lambda: self.module().look("waiting") != "0")


def refused(call) -> roadstead.CallError:
    """Why a call failed, which must."""
    with pytest.raises(roadstead.CallError) as raised:
        call()
    return raised.value


def whole(stream) -> tuple[list, roadstead.CallError | None]:
    """The items of a stream, and the error that it ended with."""
    items = []
    try:
        for item in stream:
            items.append(item)
    except roadstead.CallError as error:
        return items, error
    return items, None


def begin(call, *arguments) -> Future:
    """Calls in a thread of its own."""
    pool = ThreadPoolExecutor(1)
    future = pool.submit(call, *arguments)
    pool.shutdown(wait=False)
    return future


def together(*calls) -> list:
    """What calls answer that run beside each other."""
    with ThreadPoolExecutor(len(calls)) as pool:
        return [future.result() for future in [pool.submit(call) for call in calls]]
