"""Serves the module as its host would; the tests of the Python package know how."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "guest-sdk/python/tests"))

from harness import program, serve  # noqa: E402

from roadstead.bindings import read_plan  # noqa: E402
from roadstead.plan import Plan  # noqa: E402

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def plan() -> Plan:
    plan, _ = read_plan(HERE / "wit", program=program())
    return plan


__all__ = ["plan", "serve"]
