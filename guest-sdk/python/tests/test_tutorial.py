"""The tutorial of guest-sdk/README.md runs as it stands."""

import os
import re
import subprocess
from pathlib import Path

from roadstead_guest import read_wit

ROOT = Path(__file__).parents[3]


def test_the_tutorial_makes_two_components(tmp_path: Path) -> None:
    text = (ROOT / "guest-sdk/README.md").read_text()
    script = "\n".join(re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))
    assert "cargo build" in script and "roadstead-componentize" in script
    # The toolchain is that of this repository, as it would be inside it.
    toolchain = re.search(r'channel = "(.+)"', (ROOT / "rust-toolchain.toml").read_text())
    assert toolchain is not None
    environment = {**os.environ, "ROADSTEAD": str(ROOT), "RUSTUP_TOOLCHAIN": toolchain[1]}
    run = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    rust = tmp_path / "word-list/target/wasm32-wasip2/release/word_list.wasm"
    for component, name in [(rust, "word-list.wit"), (tmp_path / "greeter/greeter.wasm", "greeter.wit")]:
        files = read_wit(component.read_bytes())
        assert files is not None and [path for path, _ in files] == [name]
        assert "///" in files[0][1]


def test_the_worlds_of_the_sdk_make_bindings(tmp_path: Path) -> None:
    command = [str(ROOT / ".venv/bin/componentize-py"), "-d", str(ROOT / "guest-sdk/wit")]
    subprocess.run([*command, "bindings", str(tmp_path)], check=True)
    made = {path.name for path in (tmp_path / "wit_world/imports").iterdir()}
    assert {"logging.py", "store.py"} <= made
