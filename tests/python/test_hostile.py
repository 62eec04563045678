"""Hostile modules: each is stopped with the right reason while another module goes on answering."""

import threading
import time

import grpc
import harness
import pytest
from errors import failure
from harness import Cli, module, namespaced, spec_of

NAMESPACE = "hostile"
NUMBER = "/acme.tide.tide.v0_1.Tide/Height"


@pytest.fixture(scope="module")
def published(host, components):
    """All hostile modules of the repository, and one peaceful one among them."""
    cli = Cli(host, NAMESPACE)
    cli.push(components("tide-1"), "--name", "tide")
    found = {}
    for path in sorted(harness.MODULES.glob("hostile-*.wasm")):
        pushed = cli.json("push", path, "--name", path.stem, *spec_of(path.stem))
        (service,) = pushed["module"]["services"]
        found[path.stem] = service["name"], [method["name"] for method in service["methods"]]
    return found


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


# What each is stopped with. A log flood is no failure: what is over the rate is dropped.
REASONS = {
    "hostile-spin": {"FUEL_EXHAUSTED", "DEADLINE"},
    "hostile-memory-bomb": {"MEMORY_LIMIT"},
    "hostile-table-bomb": {"TABLE_LIMIT", "MEMORY_LIMIT"},
    "hostile-trap": {"GUEST_TRAP"},
    "hostile-recursion": {"GUEST_TRAP"},
    "hostile-output-flood": {"OUTPUT_LIMIT"},
}


def attack(host, service, method, **options):
    with host.channel() as channel:
        call = channel.unary_unary(f"/{service}/{method}")
        return call(b"", metadata=namespaced(NAMESPACE), **options)


def test_all_hostile_modules_are_known(published):
    assert set(REASONS) | {"hostile-log-flood"} <= set(published)


@pytest.mark.parametrize("name", sorted(REASONS))
def test_it_is_stopped_while_another_answers(host, published, name):
    service, methods = published[name]
    with Peaceful(host) as peaceful:
        for method in methods:
            error = failure(lambda method=method: attack(host, service, method))
            assert error.reason in REASONS[name], error
            assert error.info.domain == "roadstead.dev"
            if error.reason.endswith("_LIMIT") or error.reason == "FUEL_EXHAUSTED":
                assert error.code == grpc.StatusCode.RESOURCE_EXHAUSTED
                assert error.info.metadata, "the limit, its value and what was used"
        harness.until(lambda: peaceful.answered > 3, "the peaceful module answers")
    assert not peaceful.failures, peaceful.failures[:3]


def test_a_log_flood_is_capped_and_counted(host, published):
    service, methods = published["hostile-log-flood"]
    for method in methods:
        try:
            attack(host, service, method)
        except grpc.RpcError as error:
            assert error.code() in (
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                grpc.StatusCode.DEADLINE_EXCEEDED,
            )
    text = Cli(host, NAMESPACE).run("logs", "hostile-log-flood").stdout
    assert text
    assert len(text) < 8 << 20
    assert "dropped" in text


def test_many_at_once_do_not_stop_the_others(host, published):
    """Every spinner there is room for, and the peaceful module is answered all along."""
    service, methods = published["hostile-spin"]
    stop = time.monotonic() + 3
    reasons = set()

    def spin():
        while time.monotonic() < stop:
            error = failure(lambda: attack(host, service, methods[0], timeout=1))
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
    service, methods = published["hostile-spin"]
    error = failure(lambda: attack(host, service, methods[0], timeout=0.1))
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
    endless = b"\x08" + b"\xff" * 9 + b"\x01"
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
    endless = b"\x08" + b"\xff" * 9 + b"\x01"
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
