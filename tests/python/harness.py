"""Starts the real host, runs the real command line, and makes what they need.

Nothing here knows how the host works inside: it is started as a user starts it and asked over its
port. The binary is `$ROADSTEAD_BIN`, else target/debug/roadstead.
"""

import json
import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path

import grpc

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(os.environ.get("ROADSTEAD_BIN", ROOT / "target/debug/roadstead")).absolute()
FIXTURE_BIN = Path(os.environ.get("ROADSTEAD_FIXTURE_BIN", ROOT / "target/debug/roadstead-fixture"))
MODULES = ROOT / ".build/modules"
FIXTURES = ROOT / "tests/fixtures"
TOOLS = ROOT / ".tools/bin"

# A bound for what must happen at all; never an expectation of speed.
PATIENCE = 120


class Host:
    """One `roadstead serve` on a free loopback port."""

    def __init__(self, data_dir, *flags, listen="127.0.0.1:0", cwd=None):
        self.data_dir = Path(data_dir)
        self.flags = [str(flag) for flag in flags]
        self.listen, self.cwd = listen, cwd
        self.mark = uuid.uuid4().hex
        self.process = None
        self.address = None
        self.scheme = "https" if "--tls-cert" in self.flags else "http"
        self.log_path = self.data_dir.parent / f"{self.data_dir.name}-{self.mark[:8]}.log"

    def start(self):
        self.process = self.spawn()
        lines = queue.Queue()

        def read(stdout):
            for line in stdout:
                lines.put(line)
            lines.put(None)

        threading.Thread(target=read, args=(self.process.stdout,), daemon=True).start()
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                line = lines.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"the host said nothing: {self.log()}") from None
            if line is None:
                raise AssertionError(f"the host ended ({self.process.wait()}): {self.log()}")
            match = re.search(r"listening on (?:https?://)?(\S+:\d+)", line)
            if match:
                self.address = match[1]
                return self

    def spawn(self):
        environment = {k: v for k, v in os.environ.items() if not k.startswith("ROADSTEAD_")}
        environment["ROADSTEAD_TEST_MARK"] = self.mark
        with open(self.log_path, "ab") as log:
            return subprocess.Popen(
                [BIN, "serve", "--listen", self.listen, "--data-dir", self.data_dir, *self.flags],
                stdout=subprocess.PIPE,
                stderr=log,
                stdin=subprocess.DEVNULL,
                text=True,
                env=environment,
                cwd=self.cwd,
            )

    def log(self):
        return self.log_path.read_text(errors="replace")[-4000:] if self.log_path.exists() else ""

    def stop(self):
        """SIGTERM, and the exit code."""
        if self.process is None:
            return None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"the host did not end on SIGTERM: {self.log()}") from None

    def kill(self):
        self.process.kill()
        self.process.wait()

    def restart(self):
        self.stop()
        return self.start()

    @property
    def url(self):
        return f"{self.scheme}://{self.address}"

    def channel(self, **options):
        limit = 64 << 20
        defaults = {
            "grpc.max_receive_message_length": limit,
            "grpc.max_send_message_length": limit,
            # Channels to one address would share a connection: tests want their own.
            "grpc.use_local_subchannel_pool": 1,
        }
        defaults.update(options)
        return grpc.insecure_channel(self.address, options=list(defaults.items()))

    def processes(self):
        """Ids of live processes of this host, its children included."""
        found = []
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and self.mark.encode() in (entry / "environ").read_bytes():
                    state = (entry / "stat").read_text().rsplit(")", 1)[1].split()[0]
                    if state != "Z":
                        found.append(int(entry.name))
            except OSError:
                continue
        return found


class Cli:
    """The command line, talking to one host in one namespace."""

    def __init__(self, host, namespace=None, extra=()):
        self.host = host
        self.namespace = namespace
        self.extra = list(extra)

    def command(self, *args):
        command = [str(BIN), "--host", self.host.url, *self.extra]
        if self.namespace:
            command += ["-n", self.namespace]
        return command + [str(arg) for arg in args]

    def run(self, *args, code=0, stdin=None):
        """Runs one verb and holds it to its exit code (None: whatever)."""
        done = roadstead_raw(self.command(*args), stdin)
        if code is not None:
            assert done.returncode == code, f"{args}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    def json(self, *args, code=0):
        done = self.run("--json", *args, code=code)
        return json.loads(done.stdout)

    def push(self, file, *args, code=0):
        return self.run("push", file, *args, code=code)

    def call(self, method, data=None, *args, code=0):
        """One call; the response as a dictionary where it succeeded."""
        body = json.dumps(data if data is not None else {})
        done = self.run("call", method, "-d", body, *args, code=code)
        return json.loads(done.stdout) if code == 0 else done


def roadstead_raw(command, stdin=None):
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        input=stdin,
        env={k: v for k, v in os.environ.items() if not k.startswith("ROADSTEAD_")},
        check=False,
    )


def roadstead(*args, code=0):
    """A verb that needs no host."""
    done = roadstead_raw([str(BIN), *map(str, args)])
    if code is not None:
        assert done.returncode == code, f"{args}: {done.returncode}\n{done.stdout}{done.stderr}"
    return done


def fixture(name, out, *flags):
    """A component made from tests/fixtures/NAME.wit."""
    out = Path(out)
    command = [FIXTURE_BIN, "component", FIXTURES / f"{name}.wit", "-o", out, *map(str, flags)]
    subprocess.run(command, check=True)
    return out


def module(name):
    """A module of the repository, as scripts/build-modules.sh built it."""
    path = MODULES / f"{name}.wasm"
    assert path.exists(), f"{path} is missing: run scripts/build-modules.sh"
    return path


def spec_of(name):
    """`--spec` for a module of the repository that has one."""
    path = MODULES / f"{name}.yaml"
    return ["--spec", path] if path.exists() else []


def protoc(include, out, files):
    """Google's compiler, for messages and services."""
    import grpc_tools

    wellknown = Path(grpc_tools.__file__).parent / "_proto"
    subprocess.run(
        [
            sys.executable, "-m", "grpc_tools.protoc", f"-I{include}", f"-I{wellknown}",
            f"--python_out={out}", f"--grpc_python_out={out}", *map(str, files),
        ],
        check=True,
        cwd=include,
    )  # fmt: skip


def proto_files(directory):
    directory = Path(directory)
    return sorted(path.relative_to(directory) for path in directory.rglob("*.proto"))


def until(condition, what, patience=PATIENCE):
    """Waits for something that must become true."""
    deadline = time.monotonic() + patience
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"never happened: {what}"
        time.sleep(0.02)


def namespaced(namespace, *pairs):
    """Metadata of a call in a namespace."""
    metadata = list(pairs)
    if namespace:
        metadata.append(("roadstead-namespace", namespace))
    return metadata


def varints(*values):
    """A message whose fields 1, 2, … are these unsigned numbers; proto3 leaves out zeros."""
    message = bytearray()
    for number, value in enumerate(values, 1):
        if value:
            message.append(number << 3)
            while value > 0x7F:
                message.append(value & 0x7F | 0x80)
                value >>= 7
            message.append(value)
    return bytes(message)
