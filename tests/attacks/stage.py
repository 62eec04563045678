"""The host under attack: what an attack may do to it, and how its outcome is put in words."""

import functools
import importlib
import sys
import tempfile
from pathlib import Path

import forge
import grpc
import harness
import wasmtime
from errors import Details

HERE = Path(__file__).resolve().parent

NAMESPACE = "attacks"
CHUNK = 1 << 20


@functools.cache
def admin():
    """Messages and stubs of roadstead.v1, from the repository's own .proto files."""
    with tempfile.TemporaryDirectory(prefix="roadstead-attacks-") as out:
        harness.protoc(harness.ROOT / "proto", out, harness.proto_files(harness.ROOT / "proto"))
        sys.path.insert(0, out)
        parts = [f"roadstead.v1.module_service_{part}" for part in ("pb2", "pb2_grpc")]
        return tuple(importlib.import_module(part) for part in parts)


@functools.cache
def component(guest):
    """The bytes of guests/GUEST.wat, or of what `forge` makes under that name."""
    text = HERE / "guests" / f"{guest}.wat"
    if text.exists():
        return bytes(wasmtime.wat2wasm(text.read_text()))
    return getattr(forge, guest.replace("-", "_"))()


class Outcome(str):
    """A failed call in words: its code, and the reason where it has one; `text` is the rest."""

    text = ""


def said(error, before=""):
    details = Details(error)
    outcome = Outcome(f"{before}{details.code.name} {details.reason or ''}".strip())
    outcome.text = details.text
    return outcome


class Stage:
    """One host, and the namespace that attackers act in."""

    def __init__(self, host):
        self.host = host
        self.channel = host.channel()

    @property
    def address(self):
        """Host and port, as sockets take them."""
        name, port = self.host.address.rsplit(":", 1)
        return name, int(port)

    def push(self, name, wasm, spec="", namespace=NAMESPACE, channel=None, **header):
        """Publishes a component; the error of a refused push is raised."""
        messages, services = admin()
        header = {"name": name, "spec": spec, "spec_format": 2, "size": len(wasm), **header}

        def requests():
            yield messages.PushModuleRequest(header=messages.PushHeader(**header))
            for start in range(0, len(wasm), CHUNK):
                yield messages.PushModuleRequest(chunk=wasm[start : start + CHUNK])

        service = services.ModuleServiceStub(channel or self.channel)
        metadata = harness.namespaced(namespace)
        for _ in service.PushModule(requests(), metadata=metadata, timeout=harness.PATIENCE):
            pass

    def delete(self, name, namespace=NAMESPACE):
        messages, services = admin()
        service = services.ModuleServiceStub(self.channel)
        request = messages.DeleteModuleRequest(name=name)
        metadata = harness.namespaced(namespace)
        try:
            service.DeleteModule(request, metadata=metadata, timeout=harness.PATIENCE)
        except grpc.RpcError as error:
            if error.code() != grpc.StatusCode.NOT_FOUND:
                raise

    def call(self, module, method="Go", request=b"", namespace=NAMESPACE, timeout=60, channel=None):
        """Calls a function that the module's world exports itself, or a whole `/service/method`."""
        path = method if method.startswith("/") else method_path(module, method)
        call = (channel or self.channel).unary_unary(path)
        # Several attacks may serve the same interface.
        metadata = harness.namespaced(namespace, ("roadstead-module", module))
        return call(request, metadata=metadata, timeout=timeout)

    def outcome(self, module, method="Go", request=b"", **options):
        """The outcome of one call in words; a number that is answered stands behind `served`."""
        try:
            return f"served {number(self.call(module, method, request, **options))}".strip()
        except grpc.RpcError as error:
            return said(error)

    def published(self, name, guest, spec=""):
        """Pushes a guest for the length of a `with`."""
        return Published(self, name, guest, spec)


class Published:
    def __init__(self, stage, name, guest, spec):
        self.stage, self.name = stage, name
        self.wasm, self.spec = component(guest), spec

    def __enter__(self):
        self.stage.push(self.name, self.wasm, self.spec)
        return self.name

    def __exit__(self, *exception):
        self.stage.delete(self.name)


def method_path(module, method):
    return f"/roadstead.module.{module.replace('-', '_')}.v0_1.Module/{method}"


def number(answer):
    """The number in a response `{uint value = 1;}`; nothing for any other response."""
    if not answer:
        return 0
    if answer[0] != 0x08:
        return ""
    return sum((byte & 0x7F) << 7 * place for place, byte in enumerate(answer[1:]))
