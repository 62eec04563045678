"""Fixtures: a host for all tests, namespaces of their own, components and generated stubs."""

import importlib
import itertools
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import harness
from harness import Cli, Host

import roadstead

_names = itertools.count(1)


def pytest_configure():
    for needed in (harness.BIN, harness.FIXTURE_BIN):
        if not needed.exists():
            pytest.exit(f"{needed} is missing: run `cargo build -p roadstead -p roadstead-tests`")


@pytest.fixture(scope="session")
def host(tmp_path_factory):
    """The host that most tests share; each has a namespace of its own there."""
    offered = tmp_path_factory.mktemp("offered")
    data = tmp_path_factory.mktemp("host") / "data"
    started = Host(data, "--dir", f"datasets={offered}").start()
    started.offered = offered
    yield started
    assert started.process.poll() is None, f"the host died: {started.log()}"
    assert started.stop() == 0, started.log()


@pytest.fixture
def namespace():
    return f"test-{next(_names)}"


@pytest.fixture
def cli(host, namespace):
    return Cli(host, namespace)


@pytest.fixture
def new_host(tmp_path):
    """Makes hosts that the test may stop and kill."""
    made = []

    def make(*flags, data_dir=None, **options):
        made.append(Host(data_dir or tmp_path / "data", *flags, **options))
        return made[-1]

    yield make
    for one in made:
        if one.process and one.process.poll() is None:
            one.kill()


@pytest.fixture
def channel(host):
    with host.channel() as opened:
        yield opened


@pytest.fixture(scope="session")
def components(tmp_path_factory):
    """Components made from tests/fixtures, by name and padding."""
    directory = tmp_path_factory.mktemp("components")
    made = {}

    def component(name, padding=0):
        key = (name, padding)
        if key not in made:
            file = directory / f"{name}-{padding}.wasm"
            made[key] = harness.fixture(name, file, "--padding", padding)
        return made[key]

    return component


class Stubs:
    """Python packages generated from .proto files, importable by their proto path."""

    def __init__(self, directory):
        self.directory = directory
        sys.path.insert(0, str(directory))

    def generate(self, protos):
        harness.protoc(protos, self.directory, harness.proto_files(protos))
        importlib.invalidate_caches()

    def load(self, path):
        """`acme/kinds/kinds/v0_3/kinds` → (messages, services)"""
        dotted = path.replace("/", ".")
        return (
            importlib.import_module(f"{dotted}_pb2"),
            importlib.import_module(f"{dotted}_pb2_grpc"),
        )


@pytest.fixture(scope="session")
def stubs(tmp_path_factory):
    return Stubs(tmp_path_factory.mktemp("stubs"))


@pytest.fixture(scope="session")
def admin(stubs):
    """Stubs of roadstead.v1, from the repository's own .proto files."""
    stubs.generate(harness.ROOT / "proto")
    # The package for callers has the same name.
    roadstead.__path__.append(str(stubs.directory / "roadstead"))
    return stubs.load("roadstead/v1/module_service")


@pytest.fixture(scope="session")
def kinds(host, stubs, components, tmp_path_factory):
    """The module with every kind of value, published, with its stubs."""
    cli = Cli(host, "kinds")
    cli.push(components("kinds"), "--name", "kinds", "--version", "0.1.0")
    protos = tmp_path_factory.mktemp("kinds-protos")
    cli.run("proto", "kinds", "-o", protos)
    stubs.generate(protos)
    return stubs.load("acme/kinds/kinds/v0_3/kinds")
