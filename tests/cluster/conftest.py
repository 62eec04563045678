"""Fixtures: a real API server for all tests, a node for those that need one, the chart's programs."""

import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(HERE), str(ROOT / "tests/python"), str(ROOT / "k8s/image")]

from control_plane import BIN, ControlPlane
from lent import lent


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
def node(tmp_path_factory):
    with lent(tmp_path_factory.mktemp("node")) as made:
        yield made
