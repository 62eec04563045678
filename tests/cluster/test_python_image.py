"""The image of a native module in Python: the same bytes every time, and a server in it."""

import json
import subprocess
import sys
import tarfile

import chart
import pytest
from test_image import blob, manifest_of, unpacked

BUILD = chart.ROOT / "k8s/image/build-python.py"
MODULE = chart.ROOT / "modules/linalg/linalg.py"


def build(output, module=MODULE, *flags, name="linalg:tests", code=0):
    done = subprocess.run(
        [sys.executable, BUILD, "--output", output, "--name", name, *flags, module],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout) if code == 0 else done.stderr


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    return build(tmp_path_factory.mktemp("image") / "a.tar")


def test_two_builds_are_the_same_bytes(image, tmp_path):
    assert build(tmp_path / "b.tar")["digest"] == image["digest"]
    assert (tmp_path / "b.tar").read_bytes() == open(image["file"], "rb").read()


def test_it_serves_the_module_as_nobody_special(image):
    with tarfile.open(image["file"]) as tar:
        config = json.loads(blob(tar, manifest_of(tar)["config"]["digest"]))["config"]
    assert config["User"] == "65532:65532"
    assert config["Entrypoint"][-3:] == ["-m", "roadstead.native", "/app/linalg.py"]


def test_its_python_runs_on_its_own_libraries_and_is_compiled(image, tmp_path):
    unpacked(image, tmp_path)
    for name in ("app/linalg.py", "app/gen/wit_world/exports/linalg.py", "usr/lib/python3.13/ssl.py"):
        module = tmp_path / name
        assert (module.parent / f"__pycache__/{module.stem}.cpython-313.pyc").exists(), name
    assert [path.name for path in (tmp_path / "usr/bin").iterdir()] == ["python3.13"]
    asks = (
        "import sys; sys.path[:0] = ['/app', '/app/gen']; import linalg, roadstead.native.server, "
        "grpc_health, grpc_reflection, ssl, sqlite3, lzma; import numpy; print(numpy.ones(3).sum())"
    )
    in_there = ["unshare", "--map-root-user", "chroot", tmp_path, "/usr/bin/python3.13", "-c", asks]
    done = subprocess.run(in_there, capture_output=True, text=True, check=False)
    assert done.stdout == "3.0\n", done.stderr


def test_further_packages_are_held_to_their_sums(tmp_path):
    lock = tmp_path / "more.lock"
    lock.write_text(f"iniconfig==2.3.1 --hash=sha256:{'0' * 64}\n")
    said = build(tmp_path / "x.tar", MODULE, "--lock", lock, "--packages", tmp_path, code=1)
    assert "DO NOT MATCH THE HASHES" in said or "pip does not get" in said
    assert not (tmp_path / "x.tar").exists()


@pytest.mark.parametrize(
    ("module", "name", "complaint"),
    [
        (MODULE, "untagged", "has no tag"),
        (MODULE.with_name("none.py"), "a:b", "none.py does not exist"),
        (chart.ROOT / "tests/cluster/conftest.py", "a:b", "gen/wit_world does not exist"),
    ],
)
def test_what_cannot_be_an_image_is_refused(tmp_path, module, name, complaint):
    assert complaint in build(tmp_path / "x.tar", module, name=name, code=1)
    assert not (tmp_path / "x.tar").exists()
