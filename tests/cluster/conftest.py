"""Fixtures: a real API server for all tests, a node for those that need one, the chart's programs."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(HERE), str(ROOT / "tests/python"), str(ROOT / "k8s/image")]

import harness
from control_plane import BIN, ControlPlane
from node import DEBIAN, Node
from release import IMAGE, build_image

CONTROLLER = harness.BIN.with_name("roadstead-controller")
SYSCTLS = ("vm/overcommit_memory", "kernel/panic", "kernel/panic_on_oops")


def pytest_configure():
    for program in ("etcd", "kube-apiserver", "kube-controller-manager", "kubectl", "helm"):
        if not (BIN / program).exists():
            pytest.exit(f"{program} is missing: run tests/cluster/tools.sh control-plane")


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory):
    """A cluster without nodes, which most tests share; each uses names of its own there."""
    plane = ControlPlane(tmp_path_factory.mktemp("control-plane"))
    yield plane
    plane.stop()


@pytest.fixture(scope="module")
def before():
    """How the machine was."""
    return machine()


def machine():
    """What a node that was not cleaned up after would have changed."""
    return {
        "sysctls": {name: Path("/proc/sys", name).read_text() for name in SYSCTLS},
        "mounts": Path("/proc/self/mounts").read_text(),
        "links": sorted(os.listdir("/sys/class/net")),
        "groups": sorted(str(path) for path in Path("/sys/fs/cgroup").glob("*roadstead-tests*")),
        "folders": {
            name: os.path.exists(name)
            for name in ("/var/lib/kubelet", "/var/log/pods", "/var/lib/cni", "/run/containerd")
        },
    }


@pytest.fixture(scope="module")
def node(tmp_path_factory, before):
    if os.geteuid() != 0:
        pytest.exit("the node's tests need root: its containers are real")
    for program in (BIN / "kubelet", BIN / "coredns", DEBIAN / "usr/bin/containerd"):
        if not program.exists():
            pytest.exit(f"{program} is missing: run tests/cluster/tools.sh node")
    folder = tmp_path_factory.mktemp("node")
    made = Node(folder / "quay")
    try:
        made.import_image(pause_image(folder))
        programs = [harness.BIN, *filter(Path.exists, [CONTROLLER])]
        made.import_image(build_image(folder / "roadstead.tar", IMAGE, *programs))
        yield made
    finally:
        made.stop()
    shutil.rmtree(folder)
    assert machine() == before


def pause_image(folder):
    """What holds the namespaces of every pod."""
    pause = folder / "pause"
    subprocess.run(["cc", "-Os", "-static", HERE / "pause.c", "-o", pause], check=True)
    return build_image(folder / "pause.tar", "pause:tests", pause)
