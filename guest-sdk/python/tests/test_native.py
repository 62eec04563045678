"""A native module in a process of its own, called as any module: values, streams, turns."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from desk import Start, serve_with
from harness import PATIENCE, Planned, Served

import roadstead
from roadstead.client.retry import Retry
from roadstead.status import Details, last_number, last_text


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


def test_threads_are_as_many_as_are_asked_for(desk: tuple[Path, Planned], serve: Start) -> None:
    _, planned = desk
    one = serve_with(serve, planned, "threads=1").module()
    assert in_parallel([lambda: one.aside(50)] * 4) == [1] * 4


def test_calls_beyond_those_that_wait_are_refused(desk: tuple[Path, Planned], serve: Start) -> None:
    _, planned = desk
    served = serve_with(serve, planned, "max_waiting=1, max_message=10_000")
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




def test_a_cancelled_method_hears_of_it(served: Served) -> None:
    desk = served.module()
    with pytest.raises(roadstead.DeadlineExceeded) as over:
        desk.with_options(timeout=0.2).wait_until_cancelled()
    assert over.value.reason == "DEADLINE"
    assert desk.who() == "nobody, cancelled before: True"


def test_a_method_that_checks_ends_without_a_word(served: Served) -> None:
    desk = served.module()
    with pytest.raises(roadstead.DeadlineExceeded):
        desk.with_options(timeout=0.2).check_until_cancelled()
    assert served.stop() == 0
    log = served.log.read_text()
    assert "never retrieved" not in log and "Traceback" not in log, log


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
