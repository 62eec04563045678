"""A client that calls all the while, as the tests see it."""

import json
import subprocess
import sys
from pathlib import Path

import harness
from processes import finish

PROGRAM = Path(__file__).resolve().with_name("caller.py")


class Callers:
    """A process of `caller.py`, started by `within`."""

    def __init__(
        self,
        within: tuple[str, ...],
        target: str,
        method: str,
        request: bytes,
        threads: int,
        namespace: str,
    ) -> None:
        words = [sys.executable, PROGRAM, target, method, request.hex(), threads, namespace]
        self.process = subprocess.Popen(
            [*within, *map(str, words)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def told(self) -> dict:
        """What happened since this was asked last: `answered`, `failures` and the `slowest` call."""
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def until(self, more: int) -> list[dict]:
        """Waits until so many further calls were answered; all that was told meanwhile."""
        told, answered = [], 0

        def enough() -> bool:
            nonlocal answered
            told.append(self.told())
            answered += told[-1]["answered"]
            return answered >= more

        harness.until(enough, "calls are answered")
        return told

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.stdin.close()
            finish(self.process)
            self.process.stdout.close()
