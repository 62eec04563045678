"""Uploads that lie about themselves, do not end, or name what is not theirs; and files on the disk
that a host must not believe."""

import shutil
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import harness
from stage import Stage, admin, component, said
from wire import DATA, Wire, frame, grpc_message

PUSH = "/roadstead.v1.ModuleService/PushModule"


def tried(stage, *arguments, **options):
    try:
        stage.push(*arguments, **options)
    except grpc.RpcError as error:
        return str(said(error))
    return "published"


def longer_than_announced(stage):
    return tried(stage, "announced", component("loops"), size=10)


def shorter_than_announced(stage):
    return tried(stage, "announced", component("loops"), size=1 << 20)


def larger_than_allowed(stage):
    return tried(stage, "large", bytes(26 << 20), size=0)


def announced_beyond_reason(stage):
    return tried(stage, "large", b"", size=(1 << 64) - 1)


def chunk_too_large(stage):
    messages, services = admin()

    def requests():
        yield messages.PushModuleRequest(header=messages.PushHeader(name="chunk"))
        yield messages.PushModuleRequest(chunk=bytes(3 << 20))

    try:
        list(services.ModuleServiceStub(stage.channel).PushModule(requests(), timeout=60))
    except grpc.RpcError as error:
        return error.code().name
    return "published"


def spec_of_brackets(stage):
    return tried(stage, "spec", component("loops"), "name: " + "[" * 60_000)


def spec_of_aliases(stage):
    keys = "".join(f", A{at}: *a" for at in range(4_000))
    spec = f"capabilities: {{env: {{A: &a {'x' * 10_000}{keys}}}}}"
    return tried(stage, "spec", component("loops"), spec)


def spec_of_megabytes(stage):
    return tried(stage, "spec", component("loops"), "# " + "x" * (3 << 20))


def names_that_are_paths(stage):
    """Names, versions and namespaces that lead elsewhere on a disk."""
    wasm, odd = component("loops"), ["../up", "/etc/x", "a/../../b", "..", ".", "a\0b", "C:\\x", "a" * 5_000]
    got = {tried(stage, name, wasm) for name in odd}
    got |= {tried(stage, "plain", wasm, version=version) for version in odd if version}
    for namespace in ("../up", "a/b", ".."):
        got.add(tried(stage, "plain", wasm, namespace=namespace))
    if "published" in got:
        return "published"
    return "refused" if all(one.startswith("INVALID_ARGUMENT") for one in got) else f"got {got}"


def race_of_pushes(stage):
    """Sixteen clients who publish other bytes under the same version at the same time."""
    wasm = component("memories")

    def one(number):
        padding = bytes([0, 3, 1, 0x78, number])
        return tried(stage, "race", wasm + padding, version="1.0.0")

    try:
        with ThreadPoolExecutor(16) as pool:
            got = sorted(pool.map(one, range(16)))
    finally:
        stage.delete("race")
    fair = {"published", "ALREADY_EXISTS VERSION_EXISTS", "RESOURCE_EXHAUSTED OVERLOADED"}
    return "one published" if got.count("published") == 1 and set(got) <= fair else f"got {got}"


def stalled(stage):
    """Forty uploads that stop in the middle; another client still publishes."""
    messages, _ = admin()
    header = messages.PushHeader(name="stalled", size=1 << 20)
    first = messages.PushModuleRequest(header=header).SerializeToString()
    part = messages.PushModuleRequest(chunk=bytes(1000)).SerializeToString()
    held = []
    try:
        for _ in range(5):
            wire = Wire(stage.address)
            held.append(wire)
            for stream in range(1, 9, 2):
                wire.open(stream, PUSH)
                wire.send(b"".join(data(stream, message) for message in (first, part)))
        time.sleep(1)
        return tried(stage, "beside-stalled", component("loops"))
    finally:
        for wire in held:
            wire.socket.close()
        stage.delete("beside-stalled")


def data(stream, message):
    return frame(DATA, 0, stream, grpc_message(message))


def forged_code(stage):
    """Compiled code on the disk that this host did not make: other bytes, another's code, a link."""
    with tempfile.TemporaryDirectory(prefix="roadstead-attacks-") as directory:
        host = harness.Host(Path(directory) / "data")
        host.start()
        here = Stage(host)
        try:
            here.push("victim", component("storms"))
            before = here.outcome("victim", "Number")
            here.push("other", component("loop-in-start"))
            here.channel.close()
            host.stop()
            ends = set()
            code = sorted((Path(directory) / "data/compiled").rglob("*.code"), key=size)
            if len(code) != 2:
                return f"{len(code)} files of compiled code"
            small, large = code
            kept = large.read_bytes()
            flipped = bytearray(kept)
            flipped[len(flipped) // 2] ^= 1
            elsewhere = Path(directory) / "elsewhere"
            elsewhere.write_bytes(flipped)
            for forge in (
                lambda: replace(large, bytes(flipped)),
                lambda: shutil.copy(small, large),
                lambda: replace(large, b""),
                lambda: replace(large, kept[: len(kept) // 2]),
                lambda: large.symlink_to(elsewhere),
            ):
                large.unlink(missing_ok=True)
                forge()
                host.start()
                here = Stage(host)
                ends.add(here.outcome("victim", "Number") == before)
                here.channel.close()
                host.stop()
            return "compiled anew" if ends == {True} else "another answer than before"
        finally:
            if host.process.poll() is None:
                host.kill()


def replace(path, content):
    path.write_bytes(content)


def size(path):
    return path.stat().st_size
