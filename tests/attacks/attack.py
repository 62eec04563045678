"""One line of the table: what is tried, and the outcomes that it may have."""

import contextlib
import importlib
import sys
import tomllib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import grpc
from stage import said

TABLE = Path(__file__).parent / "attacks.toml"


@dataclass(frozen=True)
class Attack:
    """Either a guest that is pushed and called, or a client: a function of clients/*.py."""

    name: str
    group: str
    # What it does, in a few words.
    does: str
    # What it must come to: `CODE REASON` of the call, `push CODE REASON`, `served` or
    # `served NUMBER`; or what the client says. Several where each is right.
    wanted: tuple[str, ...]
    # guests/NAME.wat, or a function of forge.py.
    guest: str | None = None
    # `file.function` in clients/.
    client: str | None = None
    method: str = "Go"
    # The request, as hexadecimal bytes.
    request: bytes = b""
    # YAML.
    spec: str = ""
    # Calls at the same time; each must come to a wanted outcome.
    calls: int = 1
    # Seconds that a caller gives a call.
    timeout: float = 60
    # One of those whose effect on the neighbours' latency is measured.
    heavy: bool = False
    # What it needs beside the host: left out, and said so, where that is missing.
    needs: tuple[str, ...] = field(default=())

    @property
    def kind(self):
        return "client" if self.client else "guest"

    def run(self, stage):
        """Everything it came to, in words."""
        if self.client:
            return (self.client_function()(stage),)
        try:
            with self.standing(stage):
                return self.call(stage)
        except grpc.RpcError as error:
            return (said(error, "push "),)

    def client_function(self):
        file, function = self.client.split(".")
        return getattr(importlib.import_module(f"clients.{file}"), function)

    def again(self, stage):
        """One more go, in words; whatever it comes to."""
        if self.client:
            return (self.client_function()(stage),)
        return (self.call_once(stage),)

    @contextlib.contextmanager
    def standing(self, stage, more_spec=""):
        """Keeps a guest published, for `again`."""
        if self.client:
            yield
            return
        with stage.published(self.name, self.guest, f"{self.spec}\n{more_spec}"):
            yield

    def call(self, stage):
        """Every call of one go, against the module that is pushed already."""
        with ThreadPoolExecutor(self.calls) as pool:
            calls = [pool.submit(self.call_once, stage) for _ in range(self.calls)]
            return tuple(sorted({call.result() for call in calls}))

    def call_once(self, stage):
        return stage.outcome(self.name, self.method, self.request, timeout=self.timeout)

    def right(self, got):
        return all(any(matches(wanted, outcome) for wanted in self.wanted) for outcome in got)


def matches(wanted, outcome):
    return outcome == wanted or (wanted == "served" and outcome.startswith("served"))


def table():
    """All attacks, in their order."""
    with TABLE.open("rb") as file:
        rows = tomllib.load(file)["attack"]
    attacks = [Attack(**normal(row)) for row in rows]
    names = [attack.name for attack in attacks]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        sys.exit(f"{TABLE}: {', '.join(sorted(twice))} stand there twice")
    return attacks


def normal(row):
    wanted = row["wanted"]
    row["wanted"] = (wanted,) if isinstance(wanted, str) else tuple(wanted)
    row["request"] = bytes.fromhex(row.get("request", ""))
    row["needs"] = tuple(row.get("needs", ()))
    return row
