"""A fleet of hosts on this machine: a real API server, shared blobs, and a network for each host; and
controllers on request, which share one address as the pods behind a Service do.

Needs root. Hosts are processes of the program under test, named `a`, `b`, …; each has its own data
directory, its own certificate for the API server with the rights that the chart gives, and cables that
can be pulled (`network.py`). The hub has a cluster's DNS, where a headless service lists the hosts.
"""

import json
import os
import secrets
import subprocess
import sys
from pathlib import Path

import chart
import harness
from callers import Callers
from certificates import Authority
from control_plane import BIN, ControlPlane
from network import CABLES, Hub, Place
from node import COREFILE, DEBIAN
from processes import Processes

API = f"{CABLES['api']}.1"
SPACE = "default"
GROUP = "roadstead-hosts"
CONTROLLERS = "roadstead-controllers"
SERVICE = "roadstead-hosts"
TARGET = f"dns:///{SERVICE}.{SPACE}.svc.cluster.local:7411"
# Names of hosts that there may be, and the last part of the first one's addresses.
NAMES = "abcdefgh"
FIRST = 10
RIGHTS = "rbac.authorization.k8s.io/v1"
POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [{"level": "Metadata"}],
}
CONTROLLER = harness.BIN.with_name("roadstead-controller")
# Where hosts find one of the controllers, and the ports of the controllers themselves.
FLEET_PORT = 7413
CONTROLLER_PORTS = (7421, 7422)
READ = "import sys, urllib.request as r; print(r.urlopen(sys.argv[1]).read().decode())"
POST = READ.replace("argv[1]", "argv[1], sys.argv[2].encode()")
FAKETIME = DEBIAN / "usr/lib" / f"{os.uname().machine}-linux-gnu/faketime/libfaketime.so.1"


class Fleet:
    """A control plane, and hosts as they are asked for."""

    def __init__(self, folder: Path, *, controllers: int = 0) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.hub = Hub()
        self.hosts: dict[str, Member] = {}
        self.callers: list[Callers] = []
        self.plane = None
        self.processes = Processes(folder / "logs")
        self.controllers = Processes(folder / "controllers")
        try:
            policy = folder / "audit-policy.json"
            policy.write_text(json.dumps(POLICY))
            self.audit = folder / "audit.log"
            self.plane = ControlPlane(
                folder / "control-plane",
                address=API,
                within=self.hub.within,
                ports=(2379, 2380, 6443),
                flags=(
                    f"--audit-policy-file={policy}",
                    f"--audit-log-path={self.audit}",
                    f"--advertise-address={API}",
                ),
            )
            (folder / "pool.key").write_text(secrets.token_hex(32))
            (folder / "blobs").mkdir()
            self.plane.kubectl("apply", "--server-side", "-f", chart.ROOT / "k8s/crds")
            self._rights()
            self._names()
            if controllers:
                self._control(controllers)
        except BaseException:
            self.stop()
            raise

    def add(self, *names: str, **options) -> list["Member"]:
        """Starts further hosts; options are those of a `Member`."""
        made = [Member(self, name, **options) for name in names]
        for member in made:
            self.hosts[member.name] = member
            member.start()
        self.announce()
        return made

    def remove(self, *names: str) -> None:
        """Ends hosts as SIGTERM does, after the service has forgotten them."""
        gone = [self.hosts.pop(name) for name in names]
        self.announce()
        for member in gone:
            code = member.stop()
            member.end()
            assert code == 0, member.log()

    def announce(self) -> None:
        """Lists the hosts that run at the headless service, as Kubernetes would their pods."""
        running = [each for each in self.hosts.values() if each.runs()]
        self.apply(
            {
                "apiVersion": "discovery.k8s.io/v1",
                "kind": "EndpointSlice",
                "metadata": {"name": SERVICE, "labels": {"kubernetes.io/service-name": SERVICE}},
                "addressType": "IPv4",
                "ports": [{"name": "grpc", "port": 7411, "protocol": "TCP"}],
                "endpoints": [
                    {"addresses": [each.place.address], "conditions": {"ready": True}}
                    for each in running
                ],
            }
        )

    def apply(self, *found: dict) -> None:
        text = "\n---\n".join(json.dumps(each) for each in found)
        self.plane.kubectl("apply", "--server-side", "-n", SPACE, "-f", "-", stdin=text)

    def cli(self, host: "Member", *arguments, code: int | None = 0):
        """The command line, asking one host."""
        words = harness.Cli(host).command(*arguments)
        done = subprocess.run(
            [*self.hub.within, *words], capture_output=True, text=True, timeout=300, check=False
        )
        if code is not None:
            said = f"{done.stdout}{done.stderr}"
            assert done.returncode == code, f"{arguments}: {done.returncode}\n{said}\n{host.log()}"
        return done

    def begin(self, host: "Member", *arguments) -> subprocess.Popen:
        """The same without waiting for its end."""
        words = [*self.hub.within, *harness.Cli(host).command(*arguments)]
        return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def call(self, method: str, request: bytes, threads: int = 2, target: str = TARGET):
        """A client in a process of its own that calls until it is stopped."""
        told = (target, method, request, threads, SPACE)
        self.callers.append(Callers(self.hub.within, *told))
        return self.callers[-1]

    def metric(self, host: "Member", name: str) -> float:
        """The sum of a metric's series on a host."""
        url = f"http://{host.place.address}:7412/metrics"
        words = [*self.hub.within, sys.executable, "-c", READ, url]
        text = subprocess.run(words, capture_output=True, text=True, check=True).stdout
        lines = (line for line in text.splitlines() if line.startswith((f"{name} ", f"{name}{{")))
        return sum(float(line.split()[-1]) for line in lines)

    def requests(self) -> list[dict]:
        """What the API server was asked by hosts, from its audit log."""
        found = []
        for line in self.audit.read_text().splitlines():
            entry = json.loads(line)
            if GROUP in entry["user"].get("groups", []):
                found.append(entry)
        return found

    def compact(self) -> None:
        """Makes etcd forget all that is past, so that watches from then have expired."""
        url = "http://127.0.0.1:2379/v3/kv"
        within = (*self.hub.within, sys.executable, "-c", POST)

        def etcd(verb: str, body: dict) -> dict:
            words = [*within, f"{url}/{verb}", json.dumps(body)]
            done = subprocess.run(words, capture_output=True, text=True, check=True)
            return json.loads(done.stdout)

        now = etcd("range", {"key": "AA=="})["header"]["revision"]
        etcd("compaction", {"revision": now, "physical": True})

    def stop(self) -> None:
        for each in self.callers:
            each.stop()
        for host in self.hosts.values():
            host.end()
        self.controllers.stop()
        self.processes.stop()
        if self.plane:
            self.plane.stop()
        self.hub.stop()

    def writes(self, controller: str) -> list[dict]:
        """What a controller wrote, but for leases, from the API server's audit log."""
        return [
            each
            for each in map(json.loads, self.audit.read_text().splitlines())
            if each["user"]["username"] == controller
            and each["verb"] not in ("get", "list", "watch")
            and each["objectRef"].get("resource") != "leases"
            and each["responseStatus"]["code"] < 300
        ]

    def _rights(self) -> None:
        """What the chart gives the accounts of hosts and controllers, for groups here."""
        found = chart.render(self.folder, **{"catalog.kind": "kubernetes"})
        for group, component in ((GROUP, "host"), (CONTROLLERS, "controller")):
            rules = [
                rule
                for each in found
                if each["kind"] == "Role"
                and each["metadata"]["labels"]["app.kubernetes.io/component"] == component
                for rule in each["rules"]
            ]
            common = {"apiVersion": RIGHTS, "metadata": {"name": group}}
            reference = {"apiGroup": RIGHTS.partition("/")[0], "name": group}
            self.apply(
                common | {"kind": "ClusterRole", "rules": rules},
                common
                | {
                    "kind": "RoleBinding",
                    "roleRef": reference | {"kind": "ClusterRole"},
                    "subjects": [reference | {"kind": "Group"}],
                },
            )

    def _control(self, count: int) -> None:
        """Starts controllers named `controller-0`, …, and lets hosts reach one of them by chance."""
        self.trust = Authority(self.folder / "fleet-certificates")
        address = f"{CABLES['front']}.1"
        self.trust.sign("controller", "/CN=controller", [f"IP:{address}"])
        ports = CONTROLLER_PORTS[:count]
        for number, port in enumerate(ports):
            name = f"controller-{number}"
            kubeconfig = self.plane.user(name, f"/O={CONTROLLERS}/CN={name}")
            self.controllers.start(
                *(name, *self.hub.within, CONTROLLER, f"--listen={address}:{port}"),
                *(f"--metrics={address}:{port + 10}", f"--tls-cert={self.trust.folder}/controller.crt"),
                *(f"--tls-key={self.trust.folder}/controller.key", f"--identity={name}"),
                *(f"--client-ca={self.trust.certificate}", f"--kubeconfig={kubeconfig}"),
                *(f"--namespace={SPACE}", f"--lease={SPACE}/harbour-roadstead-controller"),
            )
        libraries = FAKETIME.parents[1]
        environment = (f"LD_LIBRARY_PATH={libraries}", f"XTABLES_LIBDIR={libraries}/xtables")
        self.hub.run(
            *("env", *environment, DEBIAN / "usr/sbin/iptables", "-t", "nat", "-A", "PREROUTING"),
            *("-p", "tcp", "-d", address, "--dport", FLEET_PORT),
            *("-j", "REDIRECT", "--to-ports", f"{ports[0]}-{ports[-1]}", "--random"),
        )
        lease = ("-n", SPACE, "get", "lease", "harbour-roadstead-controller")
        self.controllers.wait_for("a controller that leads", lambda: self.plane.asks(*lease))

    def _names(self) -> None:
        self.hub.names(self.folder / "resolv.conf")
        file = self.folder / "Corefile"
        file.write_text(COREFILE.format(kubeconfig=self.plane.kubeconfig))
        self.processes.start("coredns", *self.hub.within, BIN / "coredns", "-conf", file)
        ports = [{"name": "grpc", "port": 7411}]
        self.apply(
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {"name": SERVICE},
                "spec": {"clusterIP": "None", "ports": ports},
            }
        )
        ask = f"import socket; socket.getaddrinfo('{SERVICE}.{SPACE}.svc.cluster.local', 1)"
        self.announce()
        words = [*self.hub.within, sys.executable, "-c", ask]

        def answers() -> bool:
            done = subprocess.run(words, capture_output=True, check=False)
            # An empty service has no address yet, which is an answer too.
            return b"Temporary failure" not in done.stderr

        self.processes.wait_for("the names", answers)


class Member(harness.Host):
    """A host of the fleet. `skew` sets its clock wrong by so many seconds."""

    def __init__(self, fleet: Fleet, name: str, settings: str = "", skew: int = 0) -> None:
        folder = fleet.folder / name
        folder.mkdir()
        self.name, self.skew = name, skew
        self.place = Place(fleet.hub, name, FIRST + NAMES.index(name))
        self.user = f"host-{name}"
        kubeconfig = fleet.plane.user(self.user, f"/O={GROUP}/CN={self.user}")
        peers = ", ".join(
            f"{other} = 'http://{CABLES['front']}.{FIRST + number}:7411'"
            for number, other in enumerate(NAMES)
        )
        config = folder / "host.toml"
        config.write_text(
            SETTINGS.format(
                name=name, folder=fleet.folder, kubeconfig=kubeconfig, peers=peers, space=SPACE
            )
            + (self._controller(fleet) if fleet.controllers.running else "")
            + settings
        )
        super().__init__(folder / "data", "--config", config, listen=f"{self.place.address}:7411")

    def spawn(self):
        environment = {k: v for k, v in os.environ.items() if not k.startswith("ROADSTEAD_")}
        if self.skew:
            environment |= {"LD_PRELOAD": str(FAKETIME), "FAKETIME": f"{self.skew:+d}s"}
            environment |= {"FAKETIME_DONT_FAKE_MONOTONIC": "1"}
        words = ["env", *(f"{name}={value}" for name, value in environment.items())]
        serve = [harness.BIN, "serve", "--listen", self.listen, "--data-dir", self.data_dir]
        with open(self.log_path, "ab") as log:
            return subprocess.Popen(
                [*self.place.within, *words, *map(str, serve), *self.flags],
                stdout=subprocess.PIPE,
                stderr=log,
                stdin=subprocess.DEVNULL,
                text=True,
            )

    def _controller(self, fleet: Fleet) -> str:
        certificate, key = fleet.trust.sign(self.user, f"/CN={self.user}")
        return CONTROLLER_SETTINGS.format(
            address=f"https://{CABLES['front']}.1:{FLEET_PORT}",
            ca=fleet.trust.certificate,
            certificate=certificate,
            key=key,
        )

    def runs(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def end(self) -> None:
        """Ends the host, if it runs, and its network."""
        if self.runs():
            self.kill()
        self.place.stop()


SETTINGS = """\
insecure_no_auth = true
memory_budget = "1Gi"
guest_threads = 1
metrics = {{ listen = "0.0.0.0:7412", insecure_no_auth = true }}
compile = {{ workers = 1, threads = 1 }}
http = {{ connection_age = "10s" }}
catalog.kubernetes = {{ kubeconfig = "{kubeconfig}", namespaces = ["{space}"] }}
blobs = {{ kind = "directory", path = "{folder}/blobs" }}
pool = {{ name = "pool", host = "{name}", key_file = "{folder}/pool.key", peers = {{ {peers} }} }}
"""

CONTROLLER_SETTINGS = """\
controller = {{ address = "{address}", ca = "{ca}", cert = "{certificate}", key = "{key}" }}
"""
