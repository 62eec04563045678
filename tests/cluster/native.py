"""A release that runs native modules on a node of the tests, and what can be asked of it.

Callers show a token over TLS, as a release with `native.enabled` demands; modules lie in a namespace
of their own that refuses pods outside of the `restricted` profile.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import chart
import harness
import yaml
from certificates import Authority
from node import ADDRESS
from processes import PATIENCE, until
from release import HOST, PORT, SMALL, SPACE, upgrade, volume_of

TEAM = "team-a"
# The image that the chart's example names, and one of a module with state.
LINALG = "registry.example.com/team-a/linalg:1"
COUNTER = "registry.example.com/team-a/counter:1"
PROBE = "host/crates/native/tests/fixtures/probe"
MODULES = {LINALG: "modules/linalg/linalg.py", COUNTER: f"{PROBE}/counter.py"}
# What is released of these is nobody's again.
VOLUMES = 8
CONTROLLER = f"{HOST}-controller"
LABEL = "roadstead.dev/native-module"
OWNED = "deployments,statefulsets,replicasets,pods,services,secrets,networkpolicies,pvc"
EXAMPLE = chart.CHART / "examples/linalg.yaml"

VALUES = {
    **SMALL,
    "auth": {"policy": {"secret": "policy"}},
    "tls": {"secret": "tls"},
    "catalog": {"kind": "kubernetes", "namespaces": [TEAM]},
    "native": {
        "enabled": True,
        "allow": {
            "images": ["registry.example.com/team-a/*"],
            "secrets": {
                name: {"secret": "words", "key": "word", "to": [to]}
                for name, to in (("ours", f"{TEAM}/*"), ("theirs", "team-b/*"))
            },
        },
        "state": {"size": "1Gi", "storageClass": "tests"},
    },
}
POLICY = """\
[[token]]
name = "admin"
hash = "{hash}"

[[grant]]
who = "token:admin"
role = "admin"
namespaces = ["{team}"]
home = "{team}"
"""


class Natives:
    """Installed when made. `modules` says which images there are, and of which modules."""

    def __init__(self, node, modules: dict[str, str] = MODULES) -> None:
        self.node, self.plane = node, node.plane
        self.folder = node.folder / "natives"
        self.folder.mkdir()
        for image, module in modules.items():
            node.import_image(build_image(self.folder / "image.tar", image, module))
        (self.folder / "image.tar").unlink()
        for space in (SPACE, TEAM):
            self.plane.kubectl("create", "namespace", space)
        self.plane.kubectl(
            "label", "namespace", TEAM, "pod-security.kubernetes.io/enforce=restricted"
        )
        for number in range(VOLUMES):
            self.apply(self._volume(f"state-{number}"))
        self._secrets()
        upgrade(node, VALUES, "install")
        # The node's rules hear of it a moment later.
        until("an answer", lambda: self.cli("list", code=None).returncode == 0)

    def cli(self, *arguments, code: int | None = 0):
        """The command line as an admin of the namespace."""
        return self.node.run(harness.BIN, *self._flags(), *arguments, code=code)

    def begin(self, *arguments) -> subprocess.Popen:
        """The same without waiting for its end."""
        words = [*self.node.within, harness.BIN, *self._flags(), *arguments]
        return subprocess.Popen(
            list(map(str, words)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def call(self, method: str, request: dict, code: int | None = 0):
        """What the method answers; with a code, what the command line says."""
        said = self.cli(*calling(method, request), code=code)
        return json.loads(said.stdout) if code == 0 else said.stdout + said.stderr

    def push(self, spec: dict, code: int | None = 0):
        file = self.folder / "spec.yaml"
        file.write_text(yaml.safe_dump(spec))
        return self.cli("push", "--native", file, code=code)

    def apply(self, *found: dict) -> None:
        text = "\n---\n".join(json.dumps(each) for each in found)
        self.plane.kubectl("apply", "--server-side", "-f", "-", stdin=text)

    def get(self, kind: str, *name: str):
        return self.plane.get("-n", TEAM, kind, *name)

    def condition(self, version: str, kind: str = "Ready") -> tuple[str, str, str]:
        """Status, reason and message of a version's condition."""
        found = self.plane.kubectl(
            "get", "-n", TEAM, "nativemoduleversion", version, "-o", "json", code=None
        ).stdout
        conditions = json.loads(found).get("status", {}).get("conditions", []) if found else []
        for one in conditions:
            if one["type"] == kind:
                return one["status"], one["reason"], one["message"]
        return "", "", ""

    def becomes(self, version: str, reason: str, message: str = "") -> str:
        """Waits until the version is ready, or not, for that reason."""

        def is_so() -> bool:
            _, why, said = self.condition(version)
            return why == reason and message in said

        try:
            until(f"{version} is {reason}", is_so)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.state_of_things(version)}") from None
        return self.condition(version)[2]

    def owned(self, module: str, kinds: str = OWNED) -> list[str]:
        """The objects that a module's servers are made of."""
        names = ("get", "-n", TEAM, kinds, "-l", f"{LABEL}={module}", "-o", "name")
        return self.plane.kubectl(*names).stdout.split()

    def pods(self, module: str) -> list[str]:
        return self.owned(module, "pods")

    def processes(self, program: str) -> list[int]:
        """Of this node's containers, those that serve the program."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                command = (folder / "cmdline").read_bytes()
                groups = (folder / "cgroup").read_text()
            except OSError:
                continue
            if program.encode() in command and self.node.group in groups:
                found.append(int(folder.name))
        return found

    def kill(self, program: str) -> None:
        """As the kernel does when memory runs out."""
        self.signal(program, signal.SIGKILL)

    def signal(self, program: str, sign: signal.Signals) -> None:
        """Sends it to what serves the program, once something does."""
        until(f"{program} runs", lambda: self.processes(program))
        for process in self.processes(program):
            os.kill(process, sign)

    def state_of_things(self, version: str) -> str:
        where = ("-n", TEAM)
        asked = [
            self.plane.kubectl("describe", *where, "nativemoduleversion", version, code=None),
            self.plane.kubectl("get", *where, OWNED, "-o", "wide", code=None),
            self.plane.kubectl("describe", *where, "pods", code=None),
            self.plane.kubectl("logs", *where, "-l", LABEL, "--tail=40", code=None),
            self.plane.kubectl("logs", "-n", SPACE, f"deploy/{CONTROLLER}", "--tail=40", code=None),
            self.plane.kubectl("logs", "-n", SPACE, f"{HOST}-0", "--tail=40", code=None),
        ]
        return "\n".join(f"{done.stdout}{done.stderr}" for done in asked)

    def _volume(self, name: str) -> dict:
        """One for a module with a state."""
        folder = self.folder / name
        folder.mkdir()
        os.chown(folder, 65532, 65532)
        volume = volume_of(folder)
        volume["metadata"]["name"] = name
        return volume

    def _flags(self) -> tuple:
        url = f"https://{ADDRESS}:{PORT}"
        token = ("--token-file", self.folder / "token")
        return ("--host", url, "--ca", self.trust.certificate, *token, "-n", TEAM)

    def _secrets(self) -> None:
        """The host's certificate, and the policy with the admin's token."""
        self.trust = Authority(self.folder / "certificates")
        certificate, key = self.trust.sign("host", f"/CN={HOST}", [f"IP:{ADDRESS}", "IP:127.0.0.1"])
        made = [harness.BIN, "token", "new", "admin", "--json"]
        token = json.loads(subprocess.run(made, capture_output=True, check=True).stdout)
        (self.folder / "token").write_text(token["token"])
        policy = {"policy.toml": POLICY.format(hash=token["hash"], team=TEAM)}
        pair = {"tls.crt": certificate.read_text(), "tls.key": key.read_text()}
        for space, name, kind, data in (
            (SPACE, "policy", "Opaque", policy),
            (SPACE, "tls", "kubernetes.io/tls", pair),
            (TEAM, "words", "Opaque", {"word": "ahoy"}),
        ):
            metadata = {"name": name, "namespace": space}
            base = {"apiVersion": "v1", "kind": "Secret", "type": kind}
            self.apply(base | {"metadata": metadata, "stringData": data})


def calling(method: str, request: dict) -> tuple:
    return ("call", method, "-d", json.dumps(request), "--timeout", f"{PATIENCE}s")


def build_image(output: Path, name: str, module: str) -> Path:
    """The image of a native module in Python, as its author builds it."""
    build = chart.ROOT / "k8s/image/build-python.py"
    command = [sys.executable, build, "--output", output, "--name", name, chart.ROOT / module]
    subprocess.run(command, check=True, capture_output=True)
    return output


def example(**native) -> dict:
    """The chart's example, small enough for the node; what is given is set in its `native`."""
    spec = yaml.safe_load(EXAMPLE.read_text())
    spec["wit"] = str((EXAMPLE.parent / spec["wit"]).resolve())
    small = {"resources": {"cpu": "100m", "memory": "256Mi"}, "activation_timeout": f"{PATIENCE}s"}
    spec["limits"]["deadline"] = f"{PATIENCE}s"
    spec["native"] |= small | native
    return {name: value for name, value in spec.items() if value is not None}
