"""Programs that the tests start, watch and end, each by its own process id."""

import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

# A bound for what must happen at all; never an expectation of speed.
PATIENCE = 180


class Processes:
    """Background programs with a log each; they end in reverse order."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.running: list[tuple[str, subprocess.Popen]] = []
        self.commands: dict[str, tuple[list[str], dict]] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def start(self, name: str, *command: str | Path, **options) -> subprocess.Popen:
        words = [str(word) for word in command]
        self.commands[name] = (words, options)
        with open(self.folder / f"{name}.log", "ab") as log:
            process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                **options,
            )
        self.running.append((name, process))
        # What was started again ends in its old place.
        order = list(self.commands)
        self.running.sort(key=lambda each: order.index(each[0]))
        return process

    def wait_for(self, what: str, done: Callable[[], bool]) -> None:
        """Until `done` says so, as long as every program runs."""
        deadline = time.monotonic() + PATIENCE
        while not done():
            for name, process in self.running:
                if process.poll() is not None:
                    raise AssertionError(f"{name} ended: {self.log(name)}")
            if time.monotonic() > deadline:
                logs = "\n".join(f"== {name}\n{self.log(name)}" for name, _ in self.running)
                raise AssertionError(f"{what} did not come to be\n{logs}")
            time.sleep(0.1)

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")[-3000:]

    def end(self, name: str, how: signal.Signals = signal.SIGTERM) -> None:
        """Ends one program; `again` starts it as it was."""
        found = next(each for each in self.running if each[0] == name)
        self.running.remove(found)
        finish(found[1], how)

    def again(self, name: str) -> subprocess.Popen:
        command, options = self.commands[name]
        return self.start(name, *command, **options)

    def stop(self) -> None:
        while self.running:
            finish(self.running.pop()[1])


def finish(process: subprocess.Popen, how: signal.Signals = signal.SIGTERM) -> None:
    """Ends a program, by force where it does not end when told."""
    if process.poll() is None:
        process.send_signal(how)
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def until(what: str, done: Callable[[], bool]) -> None:
    """Asks again and again."""
    deadline = time.monotonic() + PATIENCE
    while not done():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come to be")
        time.sleep(0.2)
