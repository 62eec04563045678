"""The plan and the descriptors of a WIT package, which the program `roadstead` derives."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from ..plan import BadPlan, Plan

PLAN, DESCRIPTORS = "roadstead.plan.json", "roadstead.binpb"


class BindingsError(Exception):
    """Why there are no bindings; the text says what to do about it."""


def read_plan(
    wit: Path, *, world: str | None = None, lock: Path | None = None, program: Path | None = None
) -> tuple[Plan, bytes]:
    """The plan of a `.wit` file or directory, and its descriptor set."""
    if not wit.exists():
        raise BindingsError(f"{wit} does not exist: give a .wit file or a directory of them")
    with tempfile.TemporaryDirectory() as out:
        command = [str(_program(program)), "proto", "--plan", "--wit", str(wit), "-o", out]
        command += ["--world", world] if world else []
        command += ["--lock", str(lock)] if lock else []
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        if run.returncode != 0:
            raise BindingsError(f"roadstead proto failed:\n{run.stderr.strip()}")
        try:
            plan = Plan.parse(Path(out, PLAN).read_text())
        except BadPlan as error:
            raise BindingsError(f"{error}: are this package and `roadstead` of one version?") from None
        return plan, Path(out, DESCRIPTORS).read_bytes()


def _program(given: Path | None) -> Path:
    named = given or os.environ.get("ROADSTEAD_BIN") or shutil.which("roadstead")
    if not named:
        raise BindingsError(
            "the program `roadstead` is not on PATH: name it with --roadstead or ROADSTEAD_BIN"
        )
    if not Path(named).is_file():
        raise BindingsError(f"{named} does not exist: it should be the program `roadstead`")
    return Path(named)
