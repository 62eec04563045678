"""The module that the fleet's tests publish: small, quick to compile, and there in as many contents
as are asked for."""

import itertools
import json
import re
from pathlib import Path

import harness
from fleet import Fleet, Member

SERVICE = "acme.tide.tide.v0_1.Tide"
HEIGHT = f"/{SERVICE}/Height"
# hour = 5
REQUEST = b"\x08\x05"


class Tide:
    """What was published of it in a fleet."""

    def __init__(self, fleet: Fleet, folder: Path) -> None:
        self.fleet, self.folder = fleet, folder
        self.paddings = itertools.count(1)
        self.newest = ""

    def component(self) -> Path:
        """A component that nobody has pushed yet."""
        padding = next(self.paddings)
        file = self.folder / f"tide-{padding}.wasm"
        return harness.fixture("tide-1", file, "--padding", padding)

    def push(self, host: Member) -> str:
        """Publishes a version through a host, as it is then called."""
        said = self.fleet.cli(host, "--json", "push", self.component(), "--name", "tide").stdout
        self.newest = json.loads(said)["module"]["version"]
        return self.newest

    def refused(self, host: Member) -> str:
        """What a push through a host complains of."""
        return self.fleet.cli(host, "push", self.component(), "--name", "tide", code=1).stderr

    def answering(self, host: Member) -> str:
        """The version by which a host answers; nothing where it has not heard of any."""
        call = ("call", f"{SERVICE}/Height", "-d", '{"hour": 1}', "-v")
        said = self.fleet.cli(host, *call, code=None).stderr
        if "no service or type" in said:
            return ""
        answered = re.search(r"module tide@([^, ]+),", said)
        assert answered, f"{said}\n{host.log()}"
        return answered[1]

    def serves(self, host: Member) -> bool:
        """Whether a host answers by what was pushed last."""
        return self.answering(host) == self.newest

    def everywhere(self) -> None:
        """Waits until all hosts do."""
        for host in self.fleet.hosts.values():
            harness.until(lambda host=host: self.serves(host), f"{host.name} serves {self.newest}")

    def digests(self, host: Member) -> dict[str, str]:
        """What a host says that there is."""
        described = json.loads(self.fleet.cli(host, "--json", "describe", "tide").stdout)
        return {each["version"]: each["digest"] for each in described["versions"]}
