"""The Helm chart as the tests see it: rendered, installed and held to its exit code."""

import json
import subprocess
from pathlib import Path

import yaml
from control_plane import BIN, ROOT, environment

CHART = ROOT / "k8s/chart"
GOLDEN = Path(__file__).parent / "golden"
CASES = sorted(path.name.removesuffix(".values.yaml") for path in GOLDEN.glob("*.values.yaml"))
RELEASE, NAMESPACE = "harbour", "roadstead"


def values_of(case: str) -> Path:
    return GOLDEN / f"{case}.values.yaml"


def helm(folder: Path, *arguments, code: int | None = 0):
    """Runs Helm without a cluster."""
    done = subprocess.run(
        [str(BIN / "helm"), *map(str, arguments)],
        capture_output=True,
        text=True,
        env=environment(folder),
        check=False,
    )
    if code is not None:
        said = f"{done.stdout}{done.stderr}"
        assert done.returncode == code, f"{arguments}: {done.returncode}\n{said}"
    return done


def template(folder: Path, *flags, code: int | None = 0):
    return helm(folder, "template", RELEASE, CHART, "-n", NAMESPACE, *flags, code=code)


def render(folder: Path, case: str | None = None, **values) -> list[dict]:
    """The objects of a case, or of the chart's own values with these set."""
    flags = ["--skip-tests"]
    if case:
        flags += ["-f", values_of(case)]
    for name, value in values.items():
        flags += ["--set-json", f"{name}={json.dumps(value)}"]
    return objects(template(folder, *flags).stdout)


def objects(text: str) -> list[dict]:
    return [found for found in yaml.safe_load_all(text) if found]


def one(found: list[dict], kind: str, name: str | None = None) -> dict:
    matching = [
        each for each in found if each["kind"] == kind and name in (None, each["metadata"]["name"])
    ]
    assert len(matching) == 1, f"{kind} {name}: {len(matching)}"
    return matching[0]
