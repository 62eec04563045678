"""Streaming methods with grpcio: every shape, gzip, cancelling, deadlines, faults; from the command
line, and over HTTP."""

import asyncio
import os

import grpc
import pytest
from harness import Cli, module, namespaced, varints

NAMESPACE = "streams"
IN = namespaced(NAMESPACE)
PATH = "hostile.streams.streams.v0_1.Streams"


@pytest.fixture(scope="module")
def flow(host, stubs, tmp_path_factory):
    """Publishes the module of every shape and generates its stubs."""
    cli = Cli(host, NAMESPACE)
    protos = tmp_path_factory.mktemp("streams-protos")
    cli.push(module("hostile-streams"), "--name", "hostile-streams")
    cli.run("proto", "hostile-streams", "-o", protos)
    stubs.generate(protos)
    return stubs.load("hostile/streams/streams/v0_1/streams")


@pytest.fixture
def stub(flow, channel):
    return flow[1].StreamsStub(channel)


def test_responses_stream(flow, stub):
    messages, _ = flow
    numbers = stub.Count(messages.CountRequest(count=50_000, batch=999), metadata=IN)
    assert [one.item for one in numbers] == list(range(50_000))
    length = 32 << 20
    chunks = stub.Bytes(messages.BytesRequest(count=length, chunk=1 << 20), metadata=IN)
    assert sum(len(one.item) for one in chunks) == length
    (error,) = stub.Checked(messages.CheckedRequest(), metadata=IN)
    assert error.error.wrong == "nothing to count"


def test_requests_stream(flow, stub):
    messages, _ = flow

    def requests():
        yield messages.SumRequest(start=messages.SumRequest.Start(first=5))
        for number in range(5000):
            yield messages.SumRequest(item=number)

    assert stub.Sum(requests(), metadata=IN).value == 5 + sum(range(5000))
    with pytest.raises(grpc.RpcError) as refused:
        stub.Sum(iter([messages.SumRequest(item=1)]), metadata=IN)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("packing", [None, grpc.Compression.Gzip])
def test_both_stream(flow, stub, packing):
    messages, _ = flow
    rows = [one.item for one in stub.Rows(messages.RowsRequest(count=200), metadata=IN)]
    sent = (messages.EchoRequest(item=row) for row in rows)
    echoed = stub.Echo(sent, metadata=IN, compression=packing)
    assert [one.item for one in echoed] == rows


def test_both_take_turns_with_asyncio(flow, host):
    messages, services = flow

    async def talk():
        async with grpc.aio.insecure_channel(host.url.removeprefix("http://")) as channel:
            call = services.StreamsStub(channel).Double(metadata=IN)
            for number in range(20):
                await call.write(messages.DoubleRequest(item=number))
                assert (await call.read()).item == 2 * number
            await call.done_writing()
            assert await call.read() is grpc.aio.EOF
            assert await call.code() is grpc.StatusCode.OK

    asyncio.run(talk())


def test_what_goes_wrong_comes_after_the_items(flow, stub):
    messages, _ = flow
    call = stub.TrapAfter(messages.TrapAfterRequest(count=7), metadata=IN)
    got = []
    with pytest.raises(grpc.RpcError) as trapped:
        got.extend(call)
    assert len(got) == 7 and trapped.value.code() is grpc.StatusCode.ABORTED
    trailers = dict(trapped.value.trailing_metadata())
    assert trailers["roadstead-module"].startswith("hostile-streams@")
    with pytest.raises(grpc.RpcError) as late:
        list(stub.Silent(messages.SilentRequest(), metadata=IN, timeout=0.5))
    assert late.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    call = stub.Count(messages.CountRequest(), metadata=IN)
    next(call)
    call.cancel()
    assert call.code() is grpc.StatusCode.CANCELLED


def test_the_command_line_streams(flow, host):
    cli = Cli(host, NAMESPACE)
    lines = cli.run("call", f"{PATH}/Count", "-d", '{"count": 3}').stdout.splitlines()
    assert lines == ['{"item":0}', '{"item":1}', '{"item":2}']
    data = '{"start": {"first": "1"}} {"item": 2} {"item": 3}'
    assert cli.run("call", f"{PATH}/Sum", "-d", data).stdout.strip() == '{"value":"6"}'
    refused = cli.run("call", f"{PATH}/Sum", "-d", '{"item": "x"}', code=1)
    assert "does not fit" in refused.stderr


# A million takes a minute of a debug host and Python.
ITEMS = int(os.environ.get("ROADSTEAD_TEST_STREAM_ITEMS", "200000"))
# Of each way.
WHOLE = int(os.environ.get("ROADSTEAD_TEST_STREAM_MIB", "1024")) << 20
# What a host may take besides, however much goes through.
GROWTH = 128 << 20


class Resident:
    """The host's memory, of its own and at its largest since the beginning."""

    def __init__(self, host):
        self.status = f"/proc/{host.process.pid}/status"
        self.first = self.most = self.now()

    def now(self):
        with open(self.status) as status:
            (line,) = (line for line in status if line.startswith("RssAnon:"))
        return int(line.split()[1]) << 10

    def look(self):
        self.most = max(self.most, self.now())

    def grown(self):
        return self.most - self.first


def test_a_gibibyte_goes_through_in_little_memory(flow, stub, host):
    messages, _ = flow
    chunk, resident = messages.MeasureRequest(item=bytes([3]) * (1 << 20)), Resident(host)

    def chunks():
        for _ in range(WHOLE >> 20):
            yield chunk
            resident.look()

    measured = stub.Measure(chunks(), metadata=IN).value
    assert (measured.f0, measured.f1) == (WHOLE, 3 * WHOLE)
    got = 0
    for one in stub.Bytes(messages.BytesRequest(count=WHOLE, chunk=1 << 20), metadata=IN):
        if got % (16 << 20) == 0:
            resident.look()
        got += len(one.item)
    assert got == WHOLE
    assert resident.grown() < GROWTH, f"{resident.grown() >> 20} MiB for {WHOLE >> 20} each way"


def test_any_number_of_items_comes_in_order_and_little_memory(flow, channel, host):
    count, resident = ITEMS, Resident(host)
    # As bytes: so many objects of Python's would take longer than all else.
    call = channel.unary_stream(f"/{PATH}/Count")
    for number, item in enumerate(call(varints(count, 1000), metadata=IN)):
        assert item == varints(number), number
        if number % 10_000 == 0:
            resident.look()
    assert number == count - 1
    assert resident.grown() < GROWTH, f"{resident.grown() >> 20} MiB for {count} items"


def test_a_stream_of_a_session(flow, stub, channel):
    messages, services = flow
    counter = services.StreamsCounterStub(channel)
    created = counter.Create(messages.StreamsCounterCreateRequest(start=5), metadata=IN).value

    def asked(kind, **fields):
        request = getattr(messages, f"StreamsCounter{kind}Request")(**fields)
        getattr(request, "self").CopyFrom(created)
        return request

    followed = counter.Follow(asked("Follow", count=3), metadata=IN)
    assert [one.item for one in followed] == [5, 6, 7]
    assert dict(followed.trailing_metadata())["roadstead-instance"] == "session"
    endless = counter.Follow(asked("Follow"), metadata=IN)
    assert next(endless).item == 8
    endless.cancel()
    # The session outlives a stream whose reader left.
    assert counter.Next(asked("Next"), metadata=IN).value >= 9
    counter.Drop(asked("Drop"), metadata=IN)
    with pytest.raises(grpc.RpcError) as gone:
        list(counter.Follow(asked("Follow"), metadata=IN))
    assert gone.value.code() is grpc.StatusCode.NOT_FOUND
