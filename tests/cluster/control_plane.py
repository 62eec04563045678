"""A real Kubernetes API: etcd, kube-apiserver and kube-controller-manager as plain processes.

As a program it starts one on loopback, prints the path of an administrator's kubeconfig, and ends all
of it when its input closes or it is told to:

    tests/cluster/control_plane.py FOLDER
"""

import json
import signal
import socket
import subprocess
import sys
from pathlib import Path

from certificates import Authority
from processes import Processes

ROOT = Path(__file__).resolve().parents[2]
BIN = ROOT / ".tools/cluster/bin"
SERVICES = "10.96.0.0/16"
PODS = "10.244.0.0/16"
REQUEST_HEADERS = (
    "--requestheader-username-headers=X-Remote-User",
    "--requestheader-group-headers=X-Remote-Group",
    "--requestheader-extra-headers-prefix=X-Remote-Extra-",
)


class ControlPlane:
    """Started when made. `within` is put before each command, to run it in other namespaces."""

    def __init__(
        self,
        folder: Path,
        *,
        address: str = "127.0.0.1",
        within: tuple[str, ...] = (),
        ports: tuple[int, int, int] | None = None,
        flags: tuple[str, ...] = (),
        controllers: tuple[str, ...] = (),
    ) -> None:
        self.folder = folder
        self.address = address
        self.within = within
        self.authority = Authority(folder / "certificates")
        self.processes = Processes(folder / "logs")
        etcd, peer, self.port = ports or free_ports(3)
        try:
            self._etcd(etcd, peer)
            self._api_server(etcd, flags)
            self.kubeconfig = self.user("admin", "/O=system:masters/CN=admin")
            self.processes.wait_for("the API server", lambda: self.asks("get", "--raw=/readyz"))
            self._controllers(controllers)
            default = ("-n", "default", "get", "serviceaccount", "default")
            self.processes.wait_for("the controllers", lambda: self.asks(*default))
        except BaseException:
            self.stop()
            raise

    @property
    def url(self) -> str:
        return f"https://{self.address}:{self.port}"

    def user(self, name: str, subject: str) -> Path:
        """The kubeconfig of someone with a certificate of this subject."""
        certificate, key = self.authority.sign(name, subject)
        cluster = {"server": self.url, "certificate-authority": str(self.authority.certificate)}
        user = {"client-certificate": str(certificate), "client-key": str(key)}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "tests", "cluster": cluster}],
            "users": [{"name": name, "user": user}],
            "contexts": [{"name": "tests", "context": {"cluster": "tests", "user": name}}],
            "current-context": "tests",
        }
        path = self.folder / f"{name}.kubeconfig"
        path.write_text(json.dumps(config))
        return path

    def kubectl(self, *arguments: str, code: int | None = 0, stdin: str | None = None):
        """Runs kubectl as the administrator and holds it to its exit code (None: whatever)."""
        return self.run(BIN / "kubectl", *arguments, code=code, stdin=stdin)

    def run(self, program, *arguments, code: int | None = 0, stdin: str | None = None):
        """Runs a program that finds the cluster by KUBECONFIG."""
        done = subprocess.run(
            [*self.within, str(program), *map(str, arguments)],
            capture_output=True,
            text=True,
            input=stdin,
            timeout=600,
            env=environment(self.folder, KUBECONFIG=str(self.kubeconfig)),
            check=False,
        )
        if code is not None:
            said = f"{done.stdout}{done.stderr}"
            assert done.returncode == code, f"{arguments}: {done.returncode}\n{said}"
        return done

    def get(self, *arguments: str):
        """What `kubectl get` says, as JSON."""
        return json.loads(self.kubectl("get", "-o", "json", *arguments).stdout)

    def asks(self, *arguments: str) -> bool:
        """Whether kubectl succeeds."""
        return self.kubectl(*arguments, code=None).returncode == 0

    def stop(self) -> None:
        self.processes.stop()

    def end(self, name: str, how: signal.Signals = signal.SIGTERM) -> None:
        """Ends `etcd` or `kube-apiserver`."""
        self.processes.end(name, how)

    def again(self, name: str) -> None:
        """Starts it as it was, and returns when the API server answers."""
        self.processes.again(name)
        self.processes.wait_for(name, lambda: self.asks("get", "--raw=/readyz"))

    def _etcd(self, port: int, peer: int) -> None:
        client, peers = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{peer}"
        self.processes.start(
            "etcd",
            *(*self.within, BIN / "etcd", "--data-dir", self.folder / "etcd", "--unsafe-no-fsync"),
            *("--listen-client-urls", client, "--advertise-client-urls", client),
            *("--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers),
            *("--initial-cluster", f"default={peers}"),
        )

    def _api_server(self, etcd: int, flags: tuple[str, ...]) -> None:
        names = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "localhost"]
        certificate, key = self.authority.sign(
            "apiserver",
            "/CN=kube-apiserver",
            [f"DNS:{name}" for name in names]
            + [f"IP:{address}" for address in sorted({"127.0.0.1", "10.96.0.1", self.address})],
        )
        public, private = self.authority.key_pair("service-accounts")
        proxy, proxy_key = self.authority.sign("front-proxy", "/CN=front-proxy")
        self.processes.start(
            "kube-apiserver",
            *(*self.within, BIN / "kube-apiserver", f"--etcd-servers=http://127.0.0.1:{etcd}"),
            *(f"--bind-address={self.address}", f"--secure-port={self.port}"),
            *(f"--tls-cert-file={certificate}", f"--tls-private-key-file={key}"),
            *(f"--client-ca-file={self.authority.certificate}",),
            "--service-account-issuer=https://kubernetes.default.svc",
            *(f"--service-account-key-file={public}",),
            *(f"--service-account-signing-key-file={private}",),
            *(f"--service-cluster-ip-range={SERVICES}", "--authorization-mode=Node,RBAC"),
            *("--enable-admission-plugins=NodeRestriction", "--allow-privileged=true"),
            # By which servers of further APIs know that it is the API server that asks.
            *(f"--proxy-client-cert-file={proxy}", f"--proxy-client-key-file={proxy_key}"),
            f"--requestheader-client-ca-file={self.authority.certificate}",
            *("--requestheader-allowed-names=front-proxy", *REQUEST_HEADERS),
            *(f"--cert-dir={self.folder}/certificates", *flags),
        )

    def _controllers(self, flags: tuple[str, ...]) -> None:
        config = self.kubeconfig
        certificates = self.authority.folder
        self.processes.start(
            "kube-controller-manager",
            *(*self.within, BIN / "kube-controller-manager", f"--kubeconfig={config}"),
            *(f"--authentication-kubeconfig={config}", f"--authorization-kubeconfig={config}"),
            *("--leader-elect=false", "--bind-address=127.0.0.1", "--secure-port=0"),
            *(f"--service-account-private-key-file={certificates}/service-accounts.key",),
            *(f"--root-ca-file={certificates}/ca.crt",),
            *(f"--cluster-signing-cert-file={certificates}/ca.crt",),
            *(f"--cluster-signing-key-file={certificates}/ca.key",),
            *("--allocate-node-cidrs=true", f"--cluster-cidr={PODS}"),
            *(f"--service-cluster-ip-range={SERVICES}", f"--cert-dir={certificates}", *flags),
        )


def environment(folder: Path, **more: str) -> dict[str, str]:
    """Enough to run kubectl and Helm, which keep what they cache in the test's own folder."""
    return {"PATH": f"{BIN}:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(folder)} | more


def free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit("usage: control_plane.py FOLDER")

    def told(*_):
        raise SystemExit

    signal.signal(signal.SIGTERM, told)
    plane = ControlPlane(Path(sys.argv[1]).absolute())
    try:
        print(plane.kubeconfig, flush=True)
        sys.stdin.read()
    finally:
        plane.stop()


if __name__ == "__main__":
    main()
