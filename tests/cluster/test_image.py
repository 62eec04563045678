"""The image: the same bytes every time, and in it what runs and nothing more."""

import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile

import harness
import pytest
from debian import Package, PackageError, Packages
from layer import archive, file, symlink

BUILD = harness.ROOT / "k8s/image/build.py"


def build(output, *flags, programs=None, code=0, **environment):
    done = subprocess.run(
        [sys.executable, BUILD, "--output", output, *flags, *(programs or [harness.BIN])],
        capture_output=True,
        text=True,
        env=dict(os.environ, **environment),
        check=False,
    )
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout) if code == 0 else done.stderr


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    folder = tmp_path_factory.mktemp("image")
    built = build(folder / "a.tar", "--name", "roadstead:tests", "--revision", "abc")
    return built | {"folder": folder}


def blob(tar, digest):
    return tar.extractfile("blobs/" + digest.replace(":", "/")).read()


def manifest_of(tar):
    index = json.load(tar.extractfile("index.json"))
    return json.loads(blob(tar, index["manifests"][0]["digest"]))


def test_two_builds_are_the_same_bytes(image):
    again = build(image["folder"] / "b.tar", "--name", "roadstead:tests", "--revision", "abc")
    assert again["digest"] == image["digest"]
    first, second = ((image["folder"] / name).read_bytes() for name in ("a.tar", "b.tar"))
    assert first == second


def test_the_time_is_the_builders_choice(image, tmp_path):
    flags = ("--name", "roadstead:tests")
    later = build(tmp_path / "c.tar", *flags, SOURCE_DATE_EPOCH="86400")
    assert later["digest"] != image["digest"]
    with tarfile.open(tmp_path / "c.tar") as tar:
        config = json.loads(blob(tar, manifest_of(tar)["config"]["digest"]))
        assert config["created"] == "1970-01-02T00:00:00Z"
        assert {member.mtime for member in tar} == {86400}


def test_every_digest_is_right_in_both_formats(image):
    with tarfile.open(image["file"]) as tar:
        for member in tar:
            if member.isreg() and member.name.startswith("blobs/sha256/"):
                found = hashlib.sha256(tar.extractfile(member).read()).hexdigest()
                assert member.name.endswith(found)
        oci = manifest_of(tar)
        docker = json.load(tar.extractfile("manifest.json"))[0]
        assert docker["RepoTags"] == ["roadstead:tests"]
        digests = [layer["digest"] for layer in oci["layers"]]
        assert [f"sha256:{path.rpartition('/')[2]}" for path in docker["Layers"]] == digests
        config = json.loads(blob(tar, oci["config"]["digest"]))
        assert config["rootfs"]["diff_ids"] == digests


def test_it_runs_as_nobody_special(image):
    with tarfile.open(image["file"]) as tar:
        config = json.loads(blob(tar, manifest_of(tar)["config"]["digest"]))["config"]
    assert config["User"] == "65532:65532"
    assert config["Entrypoint"] == ["/usr/bin/roadstead"]
    labels = config["Labels"]
    assert labels["org.opencontainers.image.version"] == "tests"
    assert labels["org.opencontainers.image.revision"] == "abc"
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"


def unpacked(image, folder):
    with tarfile.open(image["file"]) as tar:
        for layer in manifest_of(tar)["layers"]:
            with tarfile.open(fileobj=io.BytesIO(blob(tar, layer["digest"]))) as files:
                files.extractall(folder, filter="tar")


def test_its_program_runs_on_its_own_libraries(image, tmp_path):
    unpacked(image, tmp_path)
    in_there = ["unshare", "--map-root-user", "chroot", tmp_path, "/usr/bin/roadstead"]
    said = subprocess.run([*in_there, "--version"], capture_output=True, text=True, check=False)
    assert said.stdout.startswith("roadstead "), said.stderr
    assert {path.name for path in (tmp_path / "usr/bin").iterdir()} == {harness.BIN.name}
    roots = (tmp_path / "etc/ssl/certs/ca-certificates.crt").read_text()
    assert 100 < roots.count("BEGIN CERTIFICATE") == roots.count("END CERTIFICATE")


def test_nothing_in_it_runs_with_others_rights(image):
    with tarfile.open(image["file"]) as tar:
        for layer in manifest_of(tar)["layers"]:
            with tarfile.open(fileobj=io.BytesIO(blob(tar, layer["digest"]))) as files:
                for member in files:
                    assert not member.mode & 0o6000, member.name
                    writable = member.mode & 0o002 and not member.issym()
                    assert not writable or member.name == "tmp", member.name
                    assert member.uid == (65532 if member.name == "var/lib/roadstead" else 0)


def test_a_layer_does_not_depend_on_order():
    entries = [file("/a/b", b"1"), file("/c", b"2", 0o755), symlink("/d", "c")]
    assert archive(entries, 0) == archive(entries[::-1], 0)
    with pytest.raises(ValueError, match="same path"):
        archive([file("/a", b""), file("a", b"")], 0)


def test_another_package_than_the_pinned_one_is_refused(tmp_path):
    pinned = Package("libc6", "1.0", "0" * 64)
    (tmp_path / f"libc6-{pinned.sha256}.deb").write_bytes(b"other")
    with pytest.raises(PackageError, match="is pinned"):
        Packages(tmp_path, "trixie", "20261120T000000Z", "amd64").fetch(pinned)


@pytest.mark.parametrize(
    ("program", "flags", "complaint"),
    [
        (b"#!/bin/sh\n", ["--name", "a:b"], "is no Linux program"),
        (b"\x7fELF GLIBC_2.99\0", ["--name", "a:b"], "needs glibc 2.99"),
        (b"\x7fELF", ["--name", "untagged"], "has no tag"),
        (b"\x7fELF", ["--name", "a:b", "--architecture", "s390x"], "pins nothing for s390x"),
    ],
)
def test_what_cannot_be_an_image_is_refused(tmp_path, program, flags, complaint):
    path = tmp_path / "program"
    path.write_bytes(program)
    assert complaint in build(tmp_path / "x.tar", *flags, programs=[path], code=1)
    assert not (tmp_path / "x.tar").exists()


def test_the_controller_goes_along(tmp_path):
    second = harness.BIN.with_name("roadstead-controller")
    two = build(tmp_path / "two.tar", "--name", "a:b", programs=[harness.BIN, second])
    with tarfile.open(two["file"]) as tar:
        config = json.loads(blob(tar, manifest_of(tar)["config"]["digest"]))["config"]
    assert config["Entrypoint"] == ["/usr/bin/roadstead"]
    unpacked(two, tmp_path / "root")
    for program in ("roadstead", "roadstead-controller"):
        in_there = ["unshare", "--map-root-user", "chroot", tmp_path / "root"]
        words = [*in_there, f"/usr/bin/{program}", "--version"]
        said = subprocess.run(words, capture_output=True, text=True, check=False)
        assert said.stdout.startswith(f"{program} "), said.stderr
