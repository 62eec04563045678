"""What the README has for the shell, pasted as a reader would."""

import os
import re
import socket
import subprocess

import harness
import pytest

README = (harness.ROOT / "README.md").read_text()


TOUR = "A short tour"
NATIVE = "What no sandbox runs"
SAYS = {
    TOUR: ["stopped, as it should be", "published text-stats@0.2.0"],
    NATIVE: ["published regression@0.1.0", '"coefficients"', "native"],
}


def blocks(title):
    section = README.split(f"## {title}", 1)[1].split("\n## ", 1)[0]
    return re.findall(r"```sh\n(.*?)```", section, re.S)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.parametrize("title", SAYS)
def test_every_command_works(title, tmp_path):
    address = f"127.0.0.1:{free_port()}"
    # The tour's first line is for all of them.
    path = blocks(TOUR)[0].splitlines()[0]
    script = "\n".join(["set -eu", "set -o pipefail", path, *blocks(title), "wait || true"])
    # Another binary, port and folder than a reader's, so that nothing on this machine is touched.
    script = script.replace("$PWD/target/release", str(harness.BIN.parent.resolve()))
    script = script.replace("127.0.0.1:7411", address)
    script = script.replace("/tmp/roadstead-tour", str(tmp_path / "tour"))
    environment = {
        **os.environ,
        "ROADSTEAD_LISTEN": address,
        "ROADSTEAD_HOST": f"http://{address}",
    }
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=harness.ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=10 * harness.PATIENCE,
    )
    log = tmp_path / "tour.log"
    said = done.stdout + done.stderr + (log.read_text() if log.exists() else "")
    assert done.returncode == 0, said
    for words in SAYS[title]:
        assert words in done.stdout, said


def test_the_specs_defaults_are_the_readmes(tmp_path):
    """The README's list of fields parses, and its limits are the defaults."""
    spec = README.split("```yaml\n", 1)[1].split("```", 1)[0]
    limits_and_more = spec.split("capabilities:", 1)[0]
    written, empty = tmp_path / "written.yaml", tmp_path / "empty.yaml"
    written.write_text(limits_and_more)
    empty.write_text("")
    shown = []
    for path in (written, empty):
        done = subprocess.run(
            [harness.BIN, "check", harness.MODULES / "text-stats.wasm", "--spec", path, "--json"],
            capture_output=True,
            text=True,
            check=True,
        )
        shown.append(re.search(r'"specJson": "(.*)"', done.stdout)[1])
    assert shown[0] == shown[1]
    whole = tmp_path / "whole.yaml"
    whole.write_text(spec)
    done = subprocess.run(
        [harness.BIN, "check", harness.MODULES / "text-stats.wasm", "--spec", whole],
        capture_output=True,
        text=True,
    )
    # The directory it asks for is offered by no host here; everything else must read.
    assert "spec field" not in done.stderr and "does not read" not in done.stderr, done.stderr
