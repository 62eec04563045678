"""Hostile modules: each is stopped with the right reason while another module goes on answering."""

import json
import threading
import time

import grpc
import harness
import pytest
from errors import failure
from harness import Cli, module, namespaced, spec_of, varints

NAMESPACE = "hostile"
NUMBER = "/acme.tide.tide.v0_1.Tide/Height"


@pytest.fixture(scope="module")
def published(host, components):
    """All hostile modules of the repository, and one peaceful one among them."""
    cli = Cli(host, NAMESPACE)
    cli.push(components("tide-1"), "--name", "tide")
    names = sorted(path.stem for path in harness.MODULES.glob("hostile-*.wasm"))
    for name in names:
        cli.push(module(name), "--name", name, *spec_of(name))
    return names


class Peaceful:
    """Calls another module over and over, and remembers every failure."""

    def __init__(self, host):
        self.host = host
        self.answered = 0
        self.failures = []
        self.done = threading.Event()
        self.thread = threading.Thread(target=self.work)

    def work(self):
        with self.host.channel() as channel:
            call = channel.unary_unary(NUMBER)
            while not self.done.is_set():
                try:
                    call(b"\x08\x05", metadata=namespaced(NAMESPACE), timeout=60)
                    self.answered += 1
                except grpc.RpcError as error:
                    self.failures.append(str(error))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *exception):
        self.done.set()
        self.thread.join()


# Module, method, its first fields, and the reasons that may stop it.
ATTACKS = [
    ("spin", "Forever", (), {"FUEL_EXHAUSTED", "DEADLINE"}),
    ("memory-bomb", "Explode", (), {"MEMORY_LIMIT"}),
    ("table-bomb", "Explode", (), {"TABLE_LIMIT", "MEMORY_LIMIT"}),
    ("trap", "Abort", (), {"GUEST_TRAP"}),
    ("trap", "Panic", (), {"GUEST_TRAP"}),
    ("trap", "ReadOutOfBounds", (), {"GUEST_TRAP"}),
    ("trap", "Exit", (3,), {"GUEST_TRAP"}),
    ("recursion", "Forever", (), {"GUEST_TRAP"}),
    ("output-flood", "Bytes", (100 << 20,), {"OUTPUT_LIMIT", "HOST_COPY_LIMIT"}),
    ("output-flood", "Texts", (400_000, 100), {"OUTPUT_LIMIT", "HOST_COPY_LIMIT"}),
    ("output-flood", "Empties", (40_000_000,), {"OUTPUT_LIMIT", "HOST_COPY_LIMIT", "MEMORY_LIMIT"}),
]


def method_of(name, method):
    """The full method path of `hostile:NAME/NAME@0.1.0`."""
    package = name.replace("-", "_")
    service = "".join(word.capitalize() for word in name.split("-"))
    return f"/hostile.{package}.{package}.v0_1.{service}/{method}"


def attack(host, name, method, fields=(), **options):
    with host.channel() as channel:
        call = channel.unary_unary(method_of(name, method))
        return call(varints(*fields), metadata=namespaced(NAMESPACE), **options)


def test_every_hostile_module_is_set_loose(published):
    used = {f"hostile-{attack[0]}" for attack in ATTACKS}
    used |= {"hostile-log-flood", "hostile-streams"}
    assert used == set(published)


@pytest.mark.parametrize(("name", "method", "fields", "reasons"), ATTACKS)
def test_it_is_stopped_while_another_answers(host, published, name, method, fields, reasons):
    with Peaceful(host) as peaceful:
        error = failure(lambda: attack(host, name, method, fields))
        assert error.reason in reasons, error
        assert error.info.domain == "roadstead.dev"
        if error.reason == "GUEST_TRAP":
            assert error.code == grpc.StatusCode.ABORTED
        elif error.reason != "DEADLINE":
            assert error.code == grpc.StatusCode.RESOURCE_EXHAUSTED
            assert error.info.metadata["limit"]
            assert int(error.info.metadata["allowed"]) > 0
        before = peaceful.answered
        harness.until(lambda: peaceful.answered > before + 3, "the peaceful module answers")
    assert not peaceful.failures, peaceful.failures[:3]


def test_within_their_limits_they_are_modules_like_any_other(host, published):
    for name, method, fields, answer in (
        ("spin", "Rounds", (1000,), varints(1000)),
        ("memory-bomb", "Take", (1 << 20,), varints(1)),
        ("memory-bomb", "Take", (1 << 30,), b""),
        ("recursion", "Depth", (100,), varints(100)),
        ("trap", "Count", (0,), varints(1)),
        ("output-flood", "Bytes", (1,), None),
    ):
        answered = attack(host, name, method, fields)
        assert answer is None or answered == answer, (name, method, answered)


def test_a_log_flood_is_capped_and_counted(host, published):
    cli = Cli(host, NAMESPACE)
    attack(host, "log-flood", "Lines", (20_000, 100))
    text = cli.run("logs", "hostile-log-flood").stdout
    assert "stdout" in text and "stderr" in text
    assert len(text) < 1 << 20, "2 MB were written, 64 KiB a second are kept"
    assert "dropped" in text
    error = failure(lambda: attack(host, "log-flood", "Forever"))
    assert error.reason in ("FUEL_EXHAUSTED", "DEADLINE")


def test_what_a_module_logs_cannot_forge_lines(host, published):
    cli = Cli(host, NAMESPACE)
    spec = ["--name", "mischief"]
    cli.push(module("hostile-log-flood"), *spec)
    done = cli.run(
        "call", method_of("log-flood", "Mischief")[1:], "--module", "mischief", "-v"
    )
    call = done.stderr.split("call ")[1].strip()
    for line in cli.run("logs", "mischief").stdout.splitlines():
        assert call in line, "each line carries the call's id"
        assert "\x1b" not in line and "\r" not in line
    for entry in cli.run("--json", "logs", "mischief").stdout.splitlines():
        assert json.loads(entry)["call"] == call
    assert "\x1b" not in host.log()


def test_many_at_once_do_not_stop_the_others(host, published):
    """Every spinner there is room for, and the peaceful module is answered all along."""
    stop = time.monotonic() + 3
    reasons = set()

    def spin():
        while time.monotonic() < stop:
            error = failure(lambda: attack(host, "spin", "Forever", timeout=1))
            reasons.add(error.reason or error.code.name)

    threads = [threading.Thread(target=spin) for _ in range(64)]
    with Peaceful(host) as peaceful:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        answered = peaceful.answered
    assert answered > 3
    assert not peaceful.failures, peaceful.failures[:3]
    assert reasons <= {"FUEL_EXHAUSTED", "DEADLINE", "DEADLINE_EXCEEDED", "OVERLOADED"}, reasons


def test_the_callers_deadline_stops_a_spinner(host, published):
    error = failure(lambda: attack(host, "spin", "Forever", timeout=0.1))
    assert error.code in (
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
    )


def test_a_full_queue_is_overloaded_with_a_hint_to_retry(host, components, tmp_path):
    cli = Cli(host, "overload")
    spec = tmp_path / "busy.yaml"
    spec.write_text(
        "limits: {fuel_per_call: 1000000000000, deadline: 30s}\nquota: {concurrency: 1, queue: 1}"
    )
    cli.push(components("busy"), "--name", "busy", "--spec", spec)
    endless = varints((1 << 64) - 1)
    with host.channel() as channel:
        busy = channel.unary_unary("/acme.busy.busy.v0_1.Busy/Busy")
        calls = [
            busy.future(endless, metadata=namespaced("overload"), timeout=60) for _ in range(8)
        ]

        def refused():
            return [call for call in calls if call.done()]

        harness.until(lambda: len(refused()) >= 6, "six of eight calls are refused")
        for call in refused():
            error = failure(call.result)
            assert (error.code, error.reason) == (
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                "OVERLOADED",
            )
            assert error.retry.retry_delay.ToMilliseconds() > 0
        # The callers go away, and with them the work: the next call gets the place.
        for call in calls:
            call.cancel()
        quick = channel.unary_unary("/acme.busy.busy.v0_1.Busy/Quick")

        def answered():
            try:
                return quick(b"\x08\x01", metadata=namespaced("overload")) == b"\x08\x01"
            except grpc.RpcError:
                return False

        harness.until(answered, "a cancelled call gives up its place", patience=20)


def test_a_deadline_of_the_module_counts_too(host, components, tmp_path):
    cli = Cli(host, "ceiling")
    spec = tmp_path / "busy.yaml"
    spec.write_text("limits: {fuel_per_call: 1000000000000, deadline: 300ms}")
    cli.push(components("busy"), "--name", "busy", "--spec", spec)
    endless = varints((1 << 64) - 1)
    with host.channel() as channel:
        busy = channel.unary_unary("/acme.busy.busy.v0_1.Busy/Busy")
        error = failure(lambda: busy(endless, metadata=namespaced("ceiling")))
        assert (error.code, error.reason) == (grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE")


def test_input_over_the_limit(host, published, components, tmp_path):
    cli = Cli(host, "input")
    spec = tmp_path / "small.yaml"
    spec.write_text("limits: {input: 1Ki, output: 100}")
    cli.push(components("kinds"), "--name", "kinds", "--spec", spec)
    swallow = "/acme.kinds.kinds.v0_3.Kinds/Swallow"
    with host.channel() as channel:

        def send(size):
            text = b"a" * size
            head = bytes([0x0A, size & 0x7F | 0x80, size >> 7])
            return channel.unary_unary(swallow)(head + text, metadata=namespaced("input"))

        assert send(1021) == b""
        error = failure(lambda: send(1022))
        assert (error.code, error.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "INPUT_LIMIT")
        assert error.info.metadata


def test_the_host_outlives_it_all(host, published):
    assert host.process.poll() is None
    assert module("hostile-spin").exists()
    with host.channel() as channel:
        assert channel.unary_unary(NUMBER)(b"\x08\x05", metadata=namespaced(NAMESPACE))
