"""A native module in a process of its own, called as any module: values, streams, turns, limits."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from harness import PATIENCE, Planned, Served

import roadstead
from roadstead.client.retry import Retry
from roadstead.native.identity import sign
from roadstead.status import Details, block, last_number, last_text, number

WIT = """package demo:desk@0.1.0;

/// A desk.
interface desk {
  record note { title: string, marks: list<f64> }
  variant problem { closed, busy(string) }
  /// Doubles the marks.
  twice: func(note: note) -> result<note, problem>;
  fail: func(how: string);
  later: async func(ms: u32) -> u32;
  slow: func(ms: u32) -> u32;
  aside: func(ms: u32) -> u32;
  wait-until-cancelled: func();
  who: func() -> string;
  blob: func(data: list<u8>) -> list<u8>;
  count: func(to: u32) -> stream<u32>;
  letters: func(text: string) -> stream<u8>;
  stop-at: func(to: u32, at: u32) -> result<stream<u32>, problem>;
  total: func(start: u64, numbers: stream<u32>) -> u64;
  bytes-total: async func(data: stream<u8>) -> u64;
  double: async func(numbers: stream<u32>) -> stream<u32>;
  checked: async func(numbers: tuple<stream<u32>, future<result<_, string>>>) -> tuple<stream<u32>, future<result<_, string>>>;
  soon: func() -> future<string>;
}

world module { export desk; }
"""

MODULE = """
import asyncio, time, threading
import wit_world
from componentize_py_async_support import spawn
from componentize_py_types import Err, Ok
from roadstead.native import Lifecycle, call, concurrent, progress
from wit_world import exports
from wit_world.exports.desk import Note, Problem_Busy, Problem_Closed


class Desk(exports.Desk, Lifecycle):
    def __init__(self):
        self.running = self.most = 0
        self.was_cancelled = False

    def start(self):
        progress("started")

    def twice(self, note):
        if not len(note.marks):
            raise Err(Problem_Busy(note.title))
        return Note(note.title, note.marks * 2)

    def fail(self, how):
        if how == "type":
            return 5
        raise ValueError("the secret of the module")

    async def later(self, ms):
        return await self._alone(lambda: asyncio.sleep(ms / 1000))

    async def _alone(self, wait):
        self.running += 1
        self.most = max(self.most, self.running)
        await wait()
        self.running -= 1
        return self.most

    def slow(self, ms):
        self.running += 1
        self.most = max(self.most, self.running)
        time.sleep(ms / 1000)
        self.running -= 1
        return self.most

    @concurrent
    def aside(self, ms):
        self.running += 1
        self.most = max(self.most, self.running)
        time.sleep(ms / 1000)
        self.running -= 1
        return self.most

    def wait_until_cancelled(self):
        while not call().cancelled:
            time.sleep(0.01)
        self.was_cancelled = True

    def who(self):
        caller = call().caller
        if caller is None:
            return f"nobody, cancelled before: {self.was_cancelled}"
        return f"{caller.subject} of {caller.namespace} through {'/'.join(caller.path)}"

    def blob(self, data):
        return bytes(data)[::-1]

    def count(self, to):
        yield from range(to)

    def letters(self, text):
        writer, reader = wit_world.byte_stream()
        async def write():
            with writer:
                await writer.write_all(text.encode())
        spawn(write())
        return reader

    async def stop_at(self, to, at):
        if to == 0:
            raise Err(Problem_Closed())
        for n in range(to):
            if n == at:
                raise Err(Problem_Busy(str(n)))
            yield n

    def total(self, start, numbers):
        return start + sum(numbers)

    async def bytes_total(self, data):
        total = 0
        while piece := await data.read(3):
            assert len(piece) <= 3
            total += len(piece)
        return total

    async def double(self, numbers):
        writer, reader = wit_world.u32_stream()
        async def work():
            with writer, numbers:
                while not numbers.writer_dropped and not writer.reader_dropped:
                    await writer.write_all([2 * n for n in await numbers.read(100)])
        spawn(work())
        return reader

    async def checked(self, numbers):
        stream, end = numbers
        writer, reader = wit_world.u32_stream()
        done_writer, done = wit_world.result_unit_string_future(lambda: Ok(None))
        async def work():
            with writer:
                async for n in stream:
                    if n == 13:
                        await done_writer.write(Err("thirteen"))
                        return
                    await writer.write([n])
            with done_writer:
                assert await end.read() == Ok(None)
        spawn(work())
        return reader, done

    def soon(self):
        async def value():
            await asyncio.sleep(0)
            return "now"
        return value()
"""


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Planned]:
    planned = Planned(tmp_path_factory.mktemp("desk") / "planned", WIT)
    planned.bindings()
    module = planned.directory / "desk_module.py"
    module.write_text(MODULE)
    return module, planned


Start = Callable[..., Served]


@pytest.fixture
def served(desk: tuple[Path, Planned], serve: Start) -> Served:
    module, planned = desk
    return serve(module, planned.plan).wait()


def test_values_and_errors_keep_their_types(served: Served) -> None:
    desk = served.module()
    assert list(desk.twice(desk.Note("a", [1.0, 2.5])).marks) == [2.0, 5.0]
    with pytest.raises(roadstead.Err) as raised:
        desk.twice(desk.Note("full", []))
    assert raised.value.value == desk.Problem_Busy("full")
    assert bytes(desk.blob(b"abc")) == b"cba"
    assert desk.soon() == "now"


def test_failures_are_told_without_their_internals(served: Served) -> None:
    desk = served.module()
    for how in ("raise", "type"):
        with pytest.raises(roadstead.ModuleFailed) as raised:
            desk.fail(how)
        assert raised.value.code is grpc.StatusCode.INTERNAL
        assert "secret" not in str(raised.value)
        assert raised.value.metadata["id"] in served.log.read_text()
    assert "the secret of the module" in served.log.read_text()


def test_bad_requests_say_where(served: Served) -> None:
    with grpc.insecure_channel(served.target) as channel:
        rpc = channel.unary_unary("/demo.desk.desk.v0_1.Desk/Twice")
        with pytest.raises(grpc.RpcError) as raised:
            rpc(b"\x0a\x03\x12\x01x", timeout=PATIENCE)
        unknown = channel.unary_unary("/demo.desk.desk.v0_1.Desk/Nothing")
        with pytest.raises(grpc.RpcError) as missing:
            unknown(b"", timeout=PATIENCE)
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    trailers = dict(raised.value.trailing_metadata())
    details = Details.decode(trailers["grpc-status-details-bin"])
    assert details.reason == "BAD_INPUT" and details.violations[0][0] == "note.marks"
    assert missing.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_streams_go_both_ways(served: Served) -> None:
    desk = served.module()
    assert list(desk.count(3)) == [0, 1, 2]
    assert b"".join(desk.letters("hello" * 100)) == b"hello" * 100
    assert desk.total(5, iter([1, 2, 3])) == 11
    assert desk.bytes_total([b"abcd", b"", b"e"]) == 5
    assert list(desk.double([1, 2, 3])) == [2, 4, 6]
    assert list(desk.checked([1, 2])) == [1, 2]


def test_streams_end_with_the_module_s_error(served: Served) -> None:
    desk = served.module()
    with pytest.raises(roadstead.Err) as at_once:
        list(desk.stop_at(0, 0))
    assert at_once.value.value == desk.Problem_Closed()
    got: list[int] = []
    with pytest.raises(roadstead.Err) as later:
        for item in desk.stop_at(5, 2):
            got.append(item)
    assert (got, later.value.value) == ([0, 1], desk.Problem_Busy("2"))
    with pytest.raises(roadstead.Err) as settled:
        list(desk.checked([1, 13, 2]))
    assert settled.value.value == "thirteen"


def test_a_stream_that_is_closed_gives_the_turn_to_others(served: Served) -> None:
    desk = served.module()
    stream = desk.count(1_000_000)
    assert next(stream) == 0
    stream.close()
    assert desk.soon() == "now"


def in_parallel(calls: list[Callable[[], Any]]) -> list[Any]:
    results: list[Any] = []
    threads = [threading.Thread(target=lambda call=call: results.append(call())) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    return results


@pytest.mark.parametrize("method", ["slow", "later"])
def test_one_call_at_a_time(served: Served, method: str) -> None:
    desk = served.module()
    call = getattr(desk, method)
    assert in_parallel([lambda: call(30)] * 4) == [1] * 4


def test_calls_declared_concurrent_run_beside_others(served: Served) -> None:
    desk = served.module()
    assert max(in_parallel([lambda: desk.aside(500)] * 4)) > 1


def test_calls_beyond_those_that_wait_are_refused(desk: tuple[Path, Planned], serve: Start) -> None:
    _, planned = desk
    runner = planned.directory / "run_narrow.py"
    runner.write_text(
        "import sys; sys.path[:0] = [%r, %r]\nfrom desk_module import Desk\n"
        "from roadstead.native import serve\nserve(Desk, max_waiting=1, max_message=10_000)\n"
        % (str(planned.directory), str(planned.directory / "gen"))
    )
    served = serve_script(serve, runner, planned)
    host = roadstead.connect(served.target, timeout=PATIENCE, retry=Retry(attempts=1))
    narrow = host.with_plan(planned.plan.text)
    refused: list[roadstead.Overloaded] = []

    def attempt() -> None:
        try:
            narrow.slow(500)
        except roadstead.Overloaded as error:
            refused.append(error)

    in_parallel([attempt] * 6)
    assert refused and all(error.retry_after == 1.0 for error in refused)
    assert served.module().slow(1) == 1
    with pytest.raises(roadstead.LimitReached):
        narrow.blob(bytes(20_000))


def serve_script(serve: Start, script: Path, planned: Planned) -> Served:
    """Serves a script that calls `serve` itself, in place of the command."""
    return serve(script, planned.plan, "--script").wait()


def test_a_cancelled_method_hears_of_it(served: Served) -> None:
    desk = served.module()
    with pytest.raises(roadstead.DeadlineExceeded):
        desk.with_options(timeout=0.2).wait_until_cancelled()
    assert desk.who() == "nobody, cancelled before: True"


def test_calls_can_be_made_asynchronously(served: Served) -> None:
    async def main() -> None:
        async with roadstead.connect_async(served.target, timeout=PATIENCE) as host:
            desk = host.with_plan(served.plan.text)
            assert await desk.soon() == "now"
            assert [item async for item in desk.count(3)] == [0, 1, 2]

            async def numbers() -> Any:
                yield 1
                yield 2

            assert await desk.total(1, numbers()) == 4
            assert [item async for item in desk.double([4])] == [8]
            with pytest.raises(roadstead.Err):
                await desk.twice(desk.Note("", []))
            with pytest.raises(roadstead.ModuleFailed):
                await desk.fail("")

    asyncio.run(main())


def test_health_progress_and_reflection_answer_while_a_call_runs(served: Served) -> None:
    from google.protobuf import descriptor_pool
    from grpc_health.v1 import health_pb2, health_pb2_grpc
    from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
        ProtoReflectionDescriptorDatabase,
    )

    desk = served.module()
    busy = threading.Thread(target=lambda: desk.slow(1500))
    busy.start()
    with grpc.insecure_channel(served.target) as channel:
        for service in ("", "demo.desk.desk.v0_1.Desk"):
            asked = health_pb2.HealthCheckRequest(service=service)
            answer = health_pb2_grpc.HealthStub(channel).Check(asked, timeout=PATIENCE)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        rpc = channel.unary_unary("/roadstead.v1.NativeService/GetProgress")
        before = rpc(b"", timeout=PATIENCE)
        while not last_number(before, 3):
            before = rpc(b"", timeout=PATIENCE)
        assert last_text(before, 4) == "started"
        database = ProtoReflectionDescriptorDatabase(channel)
        assert "demo.desk.desk.v0_1.Desk" in database.get_services()
        pool = descriptor_pool.DescriptorPool(database)
        message = pool.FindMessageTypeByName("demo.desk.desk.v0_1.Note")
        assert [field.name for field in message.fields] == ["title", "marks"]
        v1 = channel.stream_stream("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")
        assert b"demo.desk.desk.v0_1.Desk" in next(v1(iter([b"\x3a\x00"]), timeout=PATIENCE))
        busy.join(PATIENCE)
        after = rpc(b"", timeout=PATIENCE)
        assert last_number(after, 1) > last_number(before, 1)
        assert last_number(after, 3) == 0


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
    with grpc.insecure_channel(served.target) as channel:
        rpc = channel.unary_unary("/roadstead.v1.NativeService/GetProgress")
        while not last_number(rpc(b"", timeout=PATIENCE), 3):
            time.sleep(0.01)
    assert served.stop() == 0
    busy.join(PATIENCE)
    assert results == [1]
    assert not served.socket.exists()


def test_the_socket_is_its_owner_s_alone(served: Served) -> None:
    assert served.socket.stat().st_mode & 0o077 == 0


def test_a_socket_that_was_left_behind_is_taken_over(
    desk: tuple[Path, Planned], serve: Start, tmp_path: Path
) -> None:
    module, planned = desk
    socket = str(tmp_path / "same.sock")
    serve(module, planned.plan, ROADSTEAD_SOCKET=socket).wait().stop(signal.SIGKILL)
    assert serve(module, planned.plan, ROADSTEAD_SOCKET=socket).wait().module().soon() == "now"


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
    socket = {"ROADSTEAD_SOCKET": str(tmp_path / "refused.sock")}
    served = serve_with(serve, module, planned, {**socket, **environment})
    assert served.process.wait(PATIENCE) == 1
    assert text in served.log.read_text()


def serve_with(serve: Start, module: Path, planned: Planned, environment: dict[str, str]) -> Served:
    return serve(module, planned.plan, **environment)
