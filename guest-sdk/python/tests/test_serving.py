"""How a native module is served: whom it believes, where it listens, how it ends."""

from __future__ import annotations

import hashlib
import hmac
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from certificates import Authority
from desk import Start, serve_with
from harness import PATIENCE, Planned, Served

import roadstead
from roadstead.client.retry import Retry
from roadstead.native import Options, OptionsError
from roadstead.native.identity import sign
from roadstead.status import block, last_number, number

KEY = b"k" * 32


def said(method: str, *, issued: float | None = None, key: bytes = KEY) -> list[tuple[str, bytes]]:
    issued = time.time() if issued is None else issued
    call = b"".join((
        block(1, b"ann"), block(2, b"lab"), block(4, method.encode()), block(5, b"a"),
        block(5, b"b"), number(8, int(issued * 1000)),
    ))  # fmt: skip
    signature = sign(key, call)
    return [("roadstead-call-bin", call), ("roadstead-signature-bin", signature)]


def test_callers_are_those_that_the_host_signed(
    desk: tuple[Path, Planned], serve: Start, tmp_path: Path
) -> None:
    module, planned = desk
    (tmp_path / "key").write_bytes(KEY)
    served = serve(module, planned.plan, ROADSTEAD_CALL_KEY=str(tmp_path / "key")).wait()
    path = "/demo.desk.desk.v0_1.Desk/Who"
    with grpc.insecure_channel(served.target) as channel:
        rpc = channel.unary_unary(path)
        answer = rpc(b"", timeout=PATIENCE, metadata=said(path))
        assert b"ann of lab through a/b" in answer
        good = said(path)
        tampered = [("roadstead-call-bin", good[0][1] + block(1, b"root")), good[1]]
        for metadata in (
            [],
            good[:1],
            tampered,
            said(path, key=b"x" * 32),
            said("/demo.desk.desk.v0_1.Desk/Fail"),
            said(path, issued=time.time() - 3600),
            said(path, issued=time.time() + 3600),
        ):
            with pytest.raises(grpc.RpcError) as refused:
                rpc(b"", timeout=PATIENCE, metadata=metadata)
            assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert hmac.compare_digest(sign(KEY, b""), hmac.new(KEY, b"", hashlib.sha256).digest())


def test_without_a_key_nothing_that_is_said_of_callers_is_believed(served: Served) -> None:
    path = "/demo.desk.desk.v0_1.Desk/Who"
    with grpc.insecure_channel(served.target) as channel:
        assert b"nobody" in channel.unary_unary(path)(b"", timeout=PATIENCE, metadata=said(path))


def test_sigterm_lets_running_calls_end(served: Served) -> None:
    desk = served.module()
    results: list[Any] = []
    busy = threading.Thread(target=lambda: results.append(desk.slow(800)))
    busy.start()
    wait_for_call(served)
    assert served.stop() == 0
    busy.join(PATIENCE)
    assert results == [1]
    assert not served.socket.exists()


@pytest.mark.parametrize("method", ["slow", "aside", "later"])
def test_calls_that_do_not_end_in_time_are_lost(
    desk: tuple[Path, Planned], serve: Start, method: str
) -> None:
    module, planned = desk
    served = serve(module, planned.plan, ROADSTEAD_GRACE="0.2").wait()
    called = served.module()
    lost: list[roadstead.CallError] = []

    def call() -> None:
        try:
            getattr(called, method)(600_000)
        except roadstead.CallError as error:
            lost.append(error)

    busy = threading.Thread(target=call)
    busy.start()
    wait_for_call(served)
    assert served.stop() == 0
    busy.join(PATIENCE)
    assert [(error.code, error.reason) for error in lost] == [
        (grpc.StatusCode.UNAVAILABLE, "INTERRUPTED")
    ]
    if method != "later":
        assert "a call still runs after 0.2 s" in served.log.read_text()


def test_calls_that_did_not_begin_say_so_when_the_module_stops(
    desk: tuple[Path, Planned], serve: Start
) -> None:
    module, planned = desk
    served = serve(module, planned.plan, ROADSTEAD_GRACE="3").wait()
    once = roadstead.connect(served.target, timeout=PATIENCE, retry=Retry(attempts=1))
    called = once.with_plan(planned.plan.text)
    reasons: list[str] = []

    def call() -> None:
        with pytest.raises(roadstead.Unavailable) as refused:
            called.slow(600_000)
        reasons.append(refused.value.reason)

    calls = [threading.Thread(target=call) for _ in range(2)]
    for count, one in enumerate(calls, start=1):
        one.start()
        wait_for_call(served, count)
    served.process.send_signal(signal.SIGTERM)
    wait_until_stopping(served)
    with pytest.raises(roadstead.Unavailable) as late:
        called.soon()
    assert late.value.reason == "NOT_READY"
    assert served.stop() == 0
    for one in calls:
        one.join(PATIENCE)
    assert sorted(reasons) == ["INTERRUPTED", "NOT_READY"]


def wait_for_call(served: Served, count: int = 1) -> None:
    with grpc.insecure_channel(served.target) as channel:
        rpc = channel.unary_unary("/roadstead.v1.NativeService/GetProgress")
        while last_number(rpc(b"", timeout=PATIENCE), 3) < count:
            time.sleep(0.01)


def wait_until_stopping(served: Served) -> None:
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    with grpc.insecure_channel(served.target) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        asked = health_pb2.HealthCheckRequest()
        while health.Check(asked, timeout=PATIENCE).status == health_pb2.HealthCheckResponse.SERVING:
            time.sleep(0.01)


def test_the_grace_is_a_number_of_seconds() -> None:
    options = {"ROADSTEAD_SOCKET": "/tmp/s"}
    assert Options.from_environment(options).grace == 20.0
    assert Options.from_environment({**options, "ROADSTEAD_GRACE": "1.5"}).grace == 1.5
    for bad in ("soon", "-1", "nan", "inf", "1e3", "3601"):
        with pytest.raises(OptionsError, match="(?i)grace must be"):
            Options.from_environment({**options, "ROADSTEAD_GRACE": bad})


def test_what_a_module_prints_is_in_the_log_at_once(served: Served) -> None:
    assert "printed by the module" in served.log.read_text()


FAILING = """from desk_module import Desk

class Failing(Desk):
    {code}
        raise ValueError("no weights")
"""


@pytest.mark.parametrize(
    ("code", "what"),
    [
        ("def __init__(self):", "making Failing"),
        ("def start(self):", "Failing.start"),
        ("async def start(self):", "Failing.start"),
    ],
)
def test_a_start_that_fails_shows_the_module_s_own_trace(
    desk: tuple[Path, Planned], serve: Start, code: str, what: str
) -> None:
    _, planned = desk
    failing = planned.directory / "failing.py"
    failing.write_text(FAILING.format(code=code))
    served = serve(failing, planned.plan)
    assert served.process.wait(PATIENCE) == 1
    lines = served.log.read_text().splitlines()
    assert lines[-1] == f"roadstead: {what} failed: ValueError: no weights"
    assert lines[0].startswith("Traceback") and "failing.py" in lines[1]
    assert len(lines) < 8, lines


def test_an_address_that_cannot_be_had_is_told_in_one_line(
    desk: tuple[Path, Planned], serve: Start
) -> None:
    module, planned = desk
    served = serve(module, planned.plan, ROADSTEAD_SOCKET="/nowhere/at/all.sock")
    assert served.process.wait(PATIENCE) == 1
    lines = served.log.read_text().splitlines()
    assert "roadstead: listen on unix:/nowhere/at/all.sock" in lines[-1]
    assert "Traceback" not in "".join(lines)


def test_messages_are_as_large_as_the_environment_says(
    desk: tuple[Path, Planned], serve: Start
) -> None:
    module, planned = desk
    served = serve(module, planned.plan, ROADSTEAD_MAX_MESSAGE="10000").wait()
    assert bytes(served.module().blob(b"x" * 9000)) == b"x" * 9000
    with pytest.raises(roadstead.LimitReached):
        served.module().blob(b"x" * 11_000)
    for call in (served.module().zeros, lambda size: list(served.module().rows(size))):
        with pytest.raises(roadstead.LimitReached) as large:
            call(11_000)
        assert large.value.reason == "OUTPUT_LIMIT"
        facts = large.value.metadata
        assert (facts["limit"], facts["allowed"]) == ("output", "10000")
        assert int(facts["used"]) > 11_000


def test_bindings_may_lie_elsewhere(
    desk: tuple[Path, Planned], serve: Start, tmp_path: Path
) -> None:
    module, planned = desk
    (tmp_path / "moved.py").write_text(module.read_text())
    without = serve(tmp_path / "moved.py", planned.plan)
    assert without.process.wait(PATIENCE) == 1
    said = without.log.read_text()
    assert f"gen/wit_world does not exist: make it with `roadstead-bindings WIT -o {tmp_path}/gen`" in said
    gen = str(planned.directory / "gen")
    assert serve(tmp_path / "moved.py", planned.plan, "--bindings", gen).wait().module().soon() == "now"


def test_classes_that_do_not_fit_are_refused(
    desk: tuple[Path, Planned], serve: Start, tmp_path: Path
) -> None:
    _, planned = desk
    for name, text, why in (
        ("none", "x = 1", "no class derives"),
        ("other", "from wit_world import exports\nclass A(exports.Desk): pass\n"
         "class B(exports.Desk): pass", "2 classes given derive"),
    ):  # fmt: skip
        (tmp_path / f"{name}.py").write_text(text)
        served = serve(tmp_path / f"{name}.py", planned.plan, "--bindings", str(planned.directory / "gen"))
        assert served.process.wait(PATIENCE) == 1
        assert why in served.log.read_text()


def test_resources_are_refused_with_advice(serve: Start, tmp_path: Path) -> None:
    wit = "package a:b; interface i { resource r { constructor(); } } world w { export i; }"
    planned = Planned(tmp_path / "planned", wit)
    planned.bindings()
    module = planned.directory / "m.py"
    module.write_text("from wit_world import exports\nclass I(exports.I): pass\n")
    served = serve(module, planned.plan)
    assert served.process.wait(PATIENCE) == 1
    assert "native modules cannot yet" in served.log.read_text()


def test_the_socket_is_its_owner_s_alone(served: Served) -> None:
    assert served.socket.stat().st_mode & 0o077 == 0


def test_a_socket_that_was_left_behind_is_taken_over(
    desk: tuple[Path, Planned], serve: Start, tmp_path: Path
) -> None:
    module, planned = desk
    path = str(tmp_path / "same.sock")
    serve(module, planned.plan, ROADSTEAD_SOCKET=path).wait().stop(signal.SIGKILL)
    assert serve(module, planned.plan, ROADSTEAD_SOCKET=path).wait().module().soon() == "now"


def refusals() -> Iterator[Any]:
    yield {"ROADSTEAD_LISTEN": "0.0.0.0:1", "ROADSTEAD_SOCKET": ""}, "ROADSTEAD_TLS_CERT"
    yield {"ROADSTEAD_LISTEN": "127.0.0.1:0"}, "name one of"
    yield {"ROADSTEAD_TLS_CERT": "/x"}, "ROADSTEAD_TLS_KEY and ROADSTEAD_TLS_CA must be named"
    yield {"ROADSTEAD_CALL_KEY": "/nowhere"}, "read the key"
    yield {"ROADSTEAD_EPOCH": "-1"}, "must be a number"


@pytest.mark.parametrize(("environment", "text"), list(refusals()))
def test_an_environment_that_says_too_little_is_refused(
    desk: tuple[Path, Planned], serve: Start, environment: dict[str, str], text: str, tmp_path: Path
) -> None:
    module, planned = desk
    usual = {"ROADSTEAD_SOCKET": str(tmp_path / "refused.sock")}
    served = serve(module, planned.plan, **{**usual, **environment})
    assert served.process.wait(PATIENCE) == 1
    assert text in served.log.read_text()


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def test_over_tcp_callers_need_a_certificate_of_the_module_s_authority(
    desk: tuple[Path, Planned], serve: Start, tmp_path: Path
) -> None:
    module, planned = desk
    authority = Authority(tmp_path / "ours")
    certificate, key = authority.sign("module", "/CN=module", ["DNS:localhost"])
    target = f"localhost:{free_port()}"
    serve(
        module, planned.plan, ROADSTEAD_SOCKET="", ROADSTEAD_LISTEN=target,
        ROADSTEAD_TLS_CERT=str(certificate), ROADSTEAD_TLS_KEY=str(key),
        ROADSTEAD_TLS_CA=str(authority.certificate),
    )  # fmt: skip
    ours = roadstead.Tls(authority.certificate, *authority.sign("host", "/CN=host"))
    called = roadstead.connect(target, tls=ours, timeout=PATIENCE).with_plan(planned.plan.text)
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        try:
            assert called.soon() == "now"
            break
        except roadstead.Unavailable:
            time.sleep(0.1)
    else:
        raise AssertionError("never ready")
    stranger = Authority(tmp_path / "theirs").sign("host", "/CN=host")
    for tls in (authority.certificate, roadstead.Tls(authority.certificate, *stranger), False):
        refused = roadstead.connect(target, tls=tls, timeout=5).with_plan(planned.plan.text)
        with pytest.raises(roadstead.CallError) as error:
            refused.soon()
        assert error.value.code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
