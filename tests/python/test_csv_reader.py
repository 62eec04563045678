"""A module that streams, as its users call it: CSV in pieces of bytes, rows and errors as they come."""

import asyncio
import csv
import io
import json
import time

import grpc
import pytest
from harness import Cli, module, namespaced, until

NAMESPACE = "csv"
IN = namespaced(NAMESPACE)
FILE = (
    'port,depth,note\r\nKiel,12.5,"quay 1, ""old"""\r\n\r\nVisby,8,"two\nlines"\n'
    'Århus,,"→"\nRiga,9.5,last'
)
SERVICE = "demo.csv_reader.csv.v0_1.Csv"


@pytest.fixture(scope="module")
def reader(host, stubs, tmp_path_factory):
    cli = Cli(host, NAMESPACE)
    protos = tmp_path_factory.mktemp("csv-protos")
    cli.push(module("csv-reader"), "--name", "csv-reader")
    cli.run("proto", "csv-reader", "-o", protos)
    stubs.generate(protos)
    return stubs.load("demo/csv_reader/csv/v0_1/csv")


@pytest.fixture
def messages(reader):
    return reader[0]


@pytest.fixture
def stub(reader, channel):
    return reader[1].CsvStub(channel)


def requests(messages, pieces, kind="RowsRequest", named=False, **options):
    """What a method is sent: its parameters, and then the bytes."""
    kind = getattr(messages, kind)
    start = kind.Start(options=messages.Options(**options))
    if named:
        start.named = True
    yield kind(start=start)
    for piece in pieces:
        yield kind(item=piece)


def pieces_of(data, size):
    return (data[at : at + size] for at in range(0, len(data), size))


def wanted(text):
    return [row for row in csv.reader(io.StringIO(text, newline="")) if row]


def fields(events):
    return [list(event.item.fields) for event in events]


@pytest.mark.parametrize("size", [1, 2, 7, 1 << 16])
def test_rows_do_not_depend_on_the_pieces(messages, stub, size):
    pieces = pieces_of(FILE.encode(), size)
    events = list(stub.Rows(requests(messages, pieces), metadata=IN))
    assert fields(events) == wanted(FILE)
    assert [event.item.line for event in events] == [1, 2, 4, 6, 7]


def test_a_file_of_many_rows(messages, stub):
    text = io.StringIO(newline="")
    rows = [[str(number), f"port {number}", 'say "ahoy"'] for number in range(20_000)]
    csv.writer(text).writerows(rows)
    pieces = pieces_of(text.getvalue().encode(), 10_000)
    events = stub.Rows(requests(messages, pieces), metadata=IN)
    assert fields(events) == rows


def test_what_is_wrong_comes_after_the_rows_before_it(messages, stub):
    pieces = [b"a,b\n1,", b"2\n3\n", b"4,5\n"]
    *rows, last = stub.Rows(requests(messages, pieces), metadata=IN)
    assert fields(rows) == [["a", "b"], ["1", "2"]]
    assert last.WhichOneof("event") == "error" and last.error.line == 3
    assert (last.error.trouble.ragged.wanted, last.error.trouble.ragged.found) == (2, 1)
    whole = stub.Rows(requests(messages, pieces, ragged=True), metadata=IN)
    assert [len(row) for row in fields(whole)] == [2, 2, 1, 2]
    (quote,) = stub.Rows(requests(messages, [b'"a\n']), metadata=IN)
    assert quote.error.trouble.WhichOneof("kind") == "open_quote"
    (text,) = stub.Rows(requests(messages, [b"\xff\n"]), metadata=IN)
    assert (text.error.line, text.error.trouble.not_text) == (1, 0)
    wrong = requests(messages, [b"a"], delimiter='"')
    (delimiter,) = stub.Rows(wrong, metadata=IN)
    assert delimiter.error.trouble.WhichOneof("kind") == "delimiter"


def test_a_summary_of_a_stream(messages, stub):
    kind = "SummarizeRequest"
    pieces = pieces_of(FILE.encode(), 5)
    summary = stub.Summarize(requests(messages, pieces, kind, named=True), metadata=IN).ok
    names = {column.name: column for column in summary.columns}
    assert summary.rows == 4 and list(names) == ["port", "depth", "note"]
    depths = names["depth"].numbers
    assert (names["depth"].filled, depths.count, depths.mean, depths.least) == (3, 3, 10.0, 8.0)
    assert not names["port"].HasField("numbers")
    failed = stub.Summarize(requests(messages, [b"a\n1,2\n"], kind), metadata=IN)
    assert failed.error.line == 2


def test_whoever_does_not_read_is_not_sent_more(messages, stub):
    length, count = 64 << 10, 4096
    row = b"x" * (length - 1) + b"\n"
    sent = 0

    def pieces():
        nonlocal sent
        for _ in range(count):
            sent += 1
            yield row

    call = stub.Rows(requests(messages, pieces()), metadata=IN)
    next(call)

    def stands():
        before = sent
        time.sleep(1)
        return before == sent

    until(stands, "the sender is held")
    assert sent < count / 2, "256 MiB were taken from a caller that reads nothing"
    assert sum(1 for _ in call) == count - 1 and sent == count


def test_rows_come_while_the_file_is_written(reader, host):
    messages, services = reader

    async def talk():
        async with grpc.aio.insecure_channel(host.address) as channel:
            call = services.CsvStub(channel).Rows(metadata=IN)
            (start,) = requests(messages, [])
            await call.write(start)
            for number in range(20):
                await call.write(messages.RowsRequest(item=f"{number},".encode()))
                await call.write(messages.RowsRequest(item=b'"a\n'))
                await call.write(messages.RowsRequest(item=b'b"\n'))
                row = (await call.read()).item
                assert (row.line, list(row.fields)) == (1 + 2 * number, [str(number), "a\nb"])
            await call.write(messages.RowsRequest(item=b"last,row"))
            await call.done_writing()
            assert list((await call.read()).item.fields) == ["last", "row"]
            assert await call.read() is grpc.aio.EOF
            assert await call.code() is grpc.StatusCode.OK

    asyncio.run(talk())


def test_a_caller_that_cancels_leaves_nothing_running(reader, host):
    messages, services = reader
    cli = Cli(host, NAMESPACE)

    async def leave():
        async with grpc.aio.insecure_channel(host.address) as channel:
            call = services.CsvStub(channel).Rows(metadata=IN)
            for request in requests(messages, [b"a,b\n", b'"open']):
                await call.write(request)
            assert list((await call.read()).item.fields) == ["a", "b"]
            assert running(cli) == 1
            assert call.cancel()
            assert await call.code() is grpc.StatusCode.CANCELLED

    asyncio.run(leave())
    until(lambda: running(cli) == 0, "the call ends")


def running(cli):
    (one,) = cli.json("top", "--once")["modules"]
    return int(one.get("running", 0))


def test_the_command_line_reads_a_file(reader, host):
    cli = Cli(host, NAMESPACE)
    data = '{"start": {"options": {}}} {"item": "YSxiCjEs"} {"item": "Mgo="}'
    lines = cli.run("call", f"{SERVICE}/Rows", "-d", data).stdout.splitlines()
    rows = [json.loads(line)["item"] for line in lines]
    assert rows == [{"line": "1", "fields": ["a", "b"]}, {"line": "2", "fields": ["1", "2"]}]
