"""Networks of their own on this machine: a hub, and places that are wired to it by two cables each.

Needs root. The cable `api` leads to the control plane, the cable `front` to clients and other places;
each can be pulled. All of it lives in network namespaces, which end with the processes in them: the
machine's own network is never touched.
"""

import subprocess
from pathlib import Path

CABLES = {"api": "10.77.1", "front": "10.77.0"}


class Namespace:
    """A network and a set of mounts, as long as this object keeps its first process."""

    def __init__(self, name: str) -> None:
        self.name = name
        script = "ip link set lo up && echo held && read -r _"
        self.holder = subprocess.Popen(
            ["unshare", "--net", "--mount", "sh", "-c", script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self.holder.stdout.readline() == b"held\n", "no namespaces: is this user root?"
        # What runs there ends with who started it, however that ends.
        self.within = (
            *("setpriv", "--pdeathsig", "KILL", "--"),
            *("nsenter", f"--target={self.holder.pid}", "--net", "--mount", "--"),
        )

    def run(self, *command) -> None:
        words = [*self.within, *map(str, command)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{command}: {done.stderr}"

    def stop(self) -> None:
        self.holder.stdin.close()
        self.holder.wait()
        self.holder.stdout.close()


class Hub(Namespace):
    """Where the control plane and clients are."""

    def __init__(self) -> None:
        super().__init__("hub")
        for cable, prefix in CABLES.items():
            self.run("ip", "link", "add", cable, "type", "bridge")
            self.run("ip", "address", "add", f"{prefix}.1/24", "dev", cable)
            self.run("ip", "link", "set", cable, "up")

    def names(self, file: Path) -> None:
        """Lets everything here resolve names at the hub itself."""
        file.write_text(f"nameserver {CABLES['front']}.1\n")
        self.run("mount", "--bind", file, "/etc/resolv.conf")


class Place(Namespace):
    """A namespace on the hub's two cables; its number is the last part of its addresses."""

    def __init__(self, hub: Hub, name: str, number: int) -> None:
        super().__init__(name)
        self.hub, self.number = hub, number
        for cable, prefix in CABLES.items():
            wire = ("type", "veth", "peer", "name", cable, "netns", self.holder.pid)
            hub.run("ip", "link", "add", self._end(cable), *wire)
            hub.run("ip", "link", "set", self._end(cable), "master", cable, "up")
            self.run("ip", "address", "add", f"{prefix}.{self.number}/24", "dev", cable)
            self.run("ip", "link", "set", cable, "up")

    @property
    def address(self) -> str:
        """Where clients find it."""
        return f"{CABLES['front']}.{self.number}"

    def pull(self, cable: str) -> None:
        self.hub.run("ip", "link", "set", self._end(cable), "down")

    def plug(self, cable: str) -> None:
        self.hub.run("ip", "link", "set", self._end(cable), "up")

    def _end(self, cable: str) -> str:
        return f"{cable}-{self.number}"
