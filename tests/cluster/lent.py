"""A node for tests, with the release's image on it; the machine is afterwards as it was."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import harness
import pytest
from control_plane import BIN
from node import DEBIAN, Node
from release import IMAGE, build_image

CONTROLLER = harness.BIN.with_name("roadstead-controller")
PAUSE = Path(__file__).with_name("pause.c")
SYSCTLS = ("vm/overcommit_memory", "kernel/panic", "kernel/panic_on_oops")


@contextmanager
def lent(folder: Path) -> Iterator[Node]:
    """Ready inside of the block. The folder goes with it."""
    if os.geteuid() != 0:
        pytest.exit("the node's tests need root: its containers are real")
    for program in (BIN / "kubelet", BIN / "coredns", DEBIAN / "usr/bin/containerd"):
        if not program.exists():
            pytest.exit(f"{program} is missing: run tests/cluster/tools.sh node")
    before = machine()
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


def machine() -> dict:
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


def pause_image(folder: Path) -> Path:
    """What holds the namespaces of every pod."""
    pause = folder / "pause"
    subprocess.run(["cc", "-Os", "-static", PAUSE, "-o", pause], check=True)
    return build_image(folder / "pause.tar", "pause:tests", pause)
