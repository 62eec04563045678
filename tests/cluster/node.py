"""A whole cluster on this machine: a control plane and one node, in namespaces of their own.

Needs root. containerd, kubelet, kube-proxy, the scheduler and CoreDNS run as plain processes under one
holder; when that ends, all of them and all containers have ended. The machine keeps nothing of it: the
folders and sysctls that kubelet writes to are hidden, its control groups removed.
"""

import json
import os
import subprocess
from pathlib import Path

from control_plane import BIN, PODS, ROOT, SERVICES, ControlPlane, environment
from processes import Processes, until

HERE = Path(__file__).resolve().parent
DEBIAN = ROOT.joinpath(".tools/cluster/debian").resolve()
ADDRESS = "172.31.255.1"
NAME = "quay"
SANDBOX = "docker.io/library/pause:tests"
CGROUPS = Path("/sys/fs/cgroup")


class Node:
    """Ready when made."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.group = f"roadstead-tests-{os.getpid()}"
        self.plane = None
        self.processes = Processes(folder / "logs")
        self.holder = self._hold()
        try:
            self.within = self._enter()
            self.plane = ControlPlane(
                folder / "control-plane",
                address=ADDRESS,
                within=self.within,
                ports=(2379, 2380, 6443),
                flags=(f"--advertise-address={ADDRESS}", *self._kubelet_access()),
                controllers=("--horizontal-pod-autoscaler-sync-period=2s",),
            )
            self._container_runtime()
            self._control_groups()
            self._cluster_programs()
            self._kubelet()
            self.processes.wait_for("the node", self._is_ready)
        except BaseException:
            self.stop()
            raise

    def import_image(self, archive: Path) -> None:
        """Gives containerd an image, as there is no registry."""
        self.run(DEBIAN / "usr/bin/ctr", "-n", "k8s.io", "images", "import", archive)

    def run(self, *command, code: int | None = 0, **variables):
        """Runs a program on the node, that is, outside every pod."""
        done = subprocess.run(
            [*self.within, *map(str, command)],
            capture_output=True,
            text=True,
            timeout=600,
            env=self._environment() | variables,
            check=False,
        )
        if code is not None:
            said = f"{done.stdout}{done.stderr}"
            assert done.returncode == code, f"{command}: {done.returncode}\n{said}"
        return done

    def stop(self) -> None:
        """Ends the holder, and with it everything that ran within."""
        self.holder.stdin.close()
        try:
            self.holder.wait(30)
        except subprocess.TimeoutExpired:
            self.holder.kill()
            self.holder.wait()
        self.processes.stop()
        if self.plane:
            self.plane.stop()
        for root in self._groups():
            if root.exists():
                until(f"{root} is empty", lambda root=root: remove_group(root))

    def _hold(self) -> subprocess.Popen:
        self.folder.mkdir(parents=True, exist_ok=True)
        command = ["unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child"]
        return subprocess.Popen(
            [*command, HERE / "holder.sh", self.folder, ADDRESS, SERVICES], stdin=subprocess.PIPE
        )

    def _enter(self) -> tuple[str, ...]:
        def held():
            assert self.holder.poll() is None, "the holder ended: is this user root?"
            return (self.folder / "held").exists()

        until("the node's namespaces", held)
        pid = self.holder.pid
        child = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0]
        return ("nsenter", f"--target={child}", "--net", "--mount", "--pid", "--")

    def _environment(self) -> dict[str, str]:
        found = environment(self.folder, CONTAINERD_ADDRESS="/run/containerd/containerd.sock")
        found["PATH"] = f"{BIN}:{DEBIAN}/usr/sbin:{DEBIAN}/usr/bin:{found['PATH']}"
        libraries = DEBIAN / "usr/lib" / f"{os.uname().machine}-linux-gnu"
        found["LD_LIBRARY_PATH"] = str(libraries)
        found["XTABLES_LIBDIR"] = str(libraries / "xtables")
        return found

    def start(self, name: str, *command) -> None:
        """A program on the node, as long as the node lasts."""
        self.processes.start(name, *self.within, *command, env=self._environment())

    def _kubelet_access(self) -> tuple[str, ...]:
        certificates = self.folder / "control-plane/certificates"
        return (
            f"--kubelet-client-certificate={certificates}/admin.crt",
            f"--kubelet-client-key={certificates}/admin.key",
            f"--kubelet-certificate-authority={certificates}/ca.crt",
            "--kubelet-preferred-address-types=InternalIP,Hostname",
        )

    def _container_runtime(self) -> None:
        network = self.folder / "cni"
        network.mkdir()
        (network / "tests.conflist").write_text(json.dumps(cni(self.folder)))
        config = self.folder / "containerd.toml"
        config.write_text(CONTAINERD.format(folder=self.folder, debian=DEBIAN, sandbox=SANDBOX))
        self.start("containerd", DEBIAN / "usr/bin/containerd", "--config", config)
        ctr = (DEBIAN / "usr/bin/ctr", "version")
        self.processes.wait_for("containerd", lambda: self.run(*ctr, code=None).returncode == 0)

    def _control_groups(self) -> None:
        for root in self._groups():
            root.mkdir()

    def _groups(self) -> list[Path]:
        """The node's control group in each hierarchy: one where there is version 2 alone."""
        if (CGROUPS / "cgroup.controllers").exists():
            return [CGROUPS / self.group]
        return [root / self.group for root in CGROUPS.iterdir() if root.is_dir()]

    def _cluster_programs(self) -> None:
        config = self.plane.kubeconfig
        self.start(
            *("kube-scheduler", BIN / "kube-scheduler", f"--kubeconfig={config}"),
            *(f"--authentication-kubeconfig={config}", f"--authorization-kubeconfig={config}"),
            *("--leader-elect=false", "--bind-address=127.0.0.1"),
        )
        self.start(
            *("kube-proxy", BIN / "kube-proxy", f"--kubeconfig={config}"),
            *("--proxy-mode=iptables", f"--cluster-cidr={PODS}", f"--hostname-override={NAME}"),
            *("--conntrack-max-per-core=0", "--conntrack-tcp-timeout-established=0"),
            "--conntrack-tcp-timeout-close-wait=0",
        )
        names = self.folder / "Corefile"
        names.write_text(COREFILE.format(kubeconfig=config))
        self.start("coredns", BIN / "coredns", "-conf", names)

    def _kubelet(self) -> None:
        authority = self.plane.authority
        config = self.plane.user("node", f"/O=system:nodes/CN=system:node:{NAME}")
        certificate, key = authority.sign("kubelet", f"/CN={NAME}", [f"DNS:{NAME}", f"IP:{ADDRESS}"])
        settings = self.folder / "kubelet.json"
        written = kubelet_settings(self.group, authority.certificate, certificate, key)
        settings.write_text(json.dumps(written))
        self.start(
            *("kubelet", BIN / "kubelet", f"--config={settings}", f"--kubeconfig={config}"),
            *(f"--hostname-override={NAME}", f"--node-ip={ADDRESS}"),
            *(f"--root-dir={self.folder}/kubelet", f"--cert-dir={self.folder}/kubelet/pki"),
        )

    def _is_ready(self) -> bool:
        wait = ("wait", "--for=condition=Ready", f"node/{NAME}", "--timeout=1s")
        return self.plane.asks(*wait)


def remove_group(root: Path) -> bool:
    """Removes a control group with those below it; False while processes are in one."""
    for below, _, _ in os.walk(root, topdown=False):
        try:
            os.rmdir(below)
        except OSError:
            return False
    return True


def cni(folder: Path) -> dict:
    ranges = [[{"subnet": "10.244.0.0/24"}]]
    addresses = {"type": "host-local", "ranges": ranges, "dataDir": f"{folder}/addresses"}
    bridge = {"type": "bridge", "bridge": "pods0", "isGateway": True, "ipMasq": True}
    bridge |= {"hairpinMode": True, "ipam": addresses | {"routes": [{"dst": "0.0.0.0/0"}]}}
    ports = {"type": "portmap", "capabilities": {"portMappings": True}}
    return {"cniVersion": "0.4.0", "name": "tests", "plugins": [bridge, ports]}


def kubelet_settings(group: str, authority: Path, certificate: Path, key: Path) -> dict:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(authority)},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(certificate),
        "tlsPrivateKeyFile": str(key),
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{group}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        "resolvConf": "",
        "clusterDNS": [ADDRESS],
        "clusterDomain": "cluster.local",
        "imageGCHighThresholdPercent": 100,
        # The machine's disk may be full of other things.
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%"},
    }


COREFILE = """\
.:53 {{
  errors
  kubernetes cluster.local {{
    kubeconfig {kubeconfig}
  }}
}}
"""

CONTAINERD = """\
version = 2
root = "{folder}/containerd"
state = "/run/containerd"

[grpc]
address = "/run/containerd/containerd.sock"

[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{sandbox}"
restrict_oom_score_adj = true

[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{debian}/usr/lib/cni"
conf_dir = "{folder}/cni"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
BinaryName = "{debian}/usr/sbin/runc"
"""
