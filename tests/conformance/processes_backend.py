"""Servers as processes: a `roadstead serve --native` of this machine."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness import Cli, Host
from stage import FIXTURES, Stage
from test_auth import Tokens

import roadstead
from roadstead.client.retry import Retry

TEAM = "team-a"
OFFERS = """
[offers.secrets.ours]
file = "{file}"
to = ["team-a/*"]

[offers.secrets.theirs]
file = "{file}"
to = ["team-b/*"]
"""


class Processes:
    """Who calls is an admin of a namespace."""

    name = "processes"

    def __init__(self, folder: Path, serving: Host, token: str) -> None:
        self.folder, self.serving = folder, serving
        self._cli = Cli(serving, TEAM, extra=["--token", token])
        self.metadata = [("authorization", f"Bearer {token}"), ("roadstead-namespace", TEAM)]
        self.channel = serving.channel()
        once = Retry(attempts=1)
        self.host = roadstead.connect(serving.address, token=token, namespace=TEAM, retry=once)

    def cli(self, *arguments, code: int | None = 0):
        return self._cli.run(*arguments, code=code)

    def runs(self, program: str) -> dict:
        """How a spec says that a program of the fixtures is run."""
        return {"command": [sys.executable, "-m", "roadstead.native", str(FIXTURES / program)]}

    def starts(self, stage: Stage) -> int:
        """How often its servers were begun, as far as that is remembered."""
        return max((int(one["epoch"]) for one in stage.standing()["attempts"]), default=0)

    def log(self, stage: Stage) -> str:
        """What its servers wrote."""
        return self.cli("logs", stage.name).stdout

    def told(self, stage: Stage) -> str:
        """What there is to know where a test fails."""
        return f"{self.log(stage)}\n{self.serving.log()}"


@contextmanager
def running(folder: Path) -> Iterator[Processes]:
    tokens = Tokens(folder)
    token = tokens.new("admin")
    policy = tokens.write(("token:admin", "admin", TEAM))
    settings = folder / "settings.toml"
    settings.write_text(OFFERS.format(file=folder / "word"))
    (folder / "word").write_text("ahoy")
    flags = ("--native", "--auth", policy, "--config", settings)
    serving = Host(folder / "data", *flags).start()
    try:
        made = Processes(folder, serving, token)
        yield made
        made.host.close()
        made.channel.close()
        assert serving.process.poll() is None, f"the host died: {serving.log()}"
    finally:
        code = serving.stop()
    assert code == 0, serving.log()
