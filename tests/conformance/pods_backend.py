"""Servers as pods: a release on a real node, called from outside of the cluster's network."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
from lent import lent
from native import PROBE as FOLDER
from native import TEAM, Natives
from node import ADDRESS
from processes import finish
from release import PORT, uninstall
from stage import COUNTER, LIAR, PROBE, Stage

import roadstead
from roadstead.client.retry import Retry

RELAY = Path(__file__).with_name("relay.py")
IMAGES = {
    program: f"registry.example.com/team-a/{program.removesuffix('.py')}:1"
    for program in (PROBE, COUNTER, LIAR)
}


class Pods:
    """Who calls is an admin of a namespace."""

    name = "pods"

    def __init__(self, natives: Natives, address: str) -> None:
        self.natives, self.folder = natives, natives.folder
        token = (natives.folder / "token").read_text()
        trust = natives.trust.certificate
        self.metadata = [("authorization", f"Bearer {token}"), ("roadstead-namespace", TEAM)]
        security = grpc.ssl_channel_credentials(trust.read_bytes())
        self.channel = grpc.secure_channel(address, security)
        once = Retry(attempts=1)
        asks = {"token": token, "namespace": TEAM, "tls": trust, "retry": once}
        self.host = roadstead.connect(address, **asks)

    def cli(self, *arguments, code: int | None = 0):
        return self.natives.cli(*arguments, code=code)

    def runs(self, program: str) -> dict:
        """How a spec says that a program of the fixtures is run."""
        return {"image": IMAGES[program], "resources": {"cpu": "150m", "memory": "256Mi"}}

    def starts(self, stage: Stage) -> int:
        """How often its servers were begun, as far as that is remembered."""
        pods = [self.natives.get(pod)["status"] for pod in self.natives.pods(stage.name)]
        containers = [one for pod in pods for one in pod.get("containerStatuses", [])]
        return sum(one["restartCount"] + 1 for one in containers)

    def log(self, stage: Stage) -> str:
        """What its servers wrote."""
        logs = ("logs", "-n", TEAM, "--tail=-1")
        pods = self.natives.pods(stage.name)
        said = [self.natives.plane.kubectl(*logs, pod, code=None).stdout for pod in pods]
        return "\n".join(said)

    def told(self, stage: Stage) -> str:
        """What there is to know where a test fails."""
        version = stage.described()["versions"][0]["version"]
        return self.natives.state_of_things(f"{stage.name}-{version}")


@contextmanager
def running(folder: Path) -> Iterator[Pods]:
    with lent(folder / "node") as node:
        programs = {image: f"{FOLDER}/{program}" for program, image in IMAGES.items()}
        natives = Natives(node, programs)
        with relayed(node) as address:
            made = Pods(natives, address)
            yield made
            made.host.close()
            made.channel.close()
        uninstall(node)


@contextmanager
def relayed(node) -> Iterator[str]:
    """An address of this machine that leads to the release's hosts."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        words = [*node.within, sys.executable, RELAY, listener.fileno(), ADDRESS, PORT]
        relay = subprocess.Popen(list(map(str, words)), pass_fds=[listener.fileno()])
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            finish(relay)
