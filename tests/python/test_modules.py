"""The real modules do their work when they are called through the host with generated stubs."""

import struct
import zlib

import pytest
from harness import Cli, module, namespaced, spec_of

NAMESPACE = "real"
IN = namespaced(NAMESPACE)


@pytest.fixture(scope="module")
def real(host, stubs, tmp_path_factory):
    """Publishes the modules and generates their stubs."""
    cli = Cli(host, NAMESPACE)
    protos = tmp_path_factory.mktemp("real-protos")
    for name in ("echo", "text-stats", "thumbnail", "reward"):
        cli.push(module(name), "--name", name, *spec_of(name))
        cli.run("proto", name, "-o", protos)
    stubs.generate(protos)
    return stubs


def test_echo(real, channel):
    messages, services = real.load("demo/echo/echo/v0_1/echo")
    stub = services.EchoStub(channel)
    data = bytes(range(256)) * 100
    assert stub.Bytes(messages.BytesRequest(data=data), metadata=IN).value == data
    assert stub.Text(messages.TextRequest(text="naïve"), metadata=IN).value == "naïve"
    reading = messages.Reading(sensor=7, name="mast", value=-1.5)
    assert stub.Sample(messages.SampleRequest(reading=reading), metadata=IN).value == reading


def test_text_stats_answers_records_and_maps(real, channel):
    messages, services = real.load("demo/text_stats/analyze/v0_1/analyze")
    stub = services.AnalyzeStub(channel)
    text = "The ship came in. The other ship did not."
    summary = stub.Summarize(messages.SummarizeRequest(text=text), metadata=IN).value
    assert (summary.words, summary.sentences, summary.lines) == (9, 2, 1)
    assert summary.HasField("readability")
    empty = stub.Summarize(messages.SummarizeRequest(), metadata=IN).value
    assert not empty.HasField("longest_word")
    options = messages.WordOptions(min_length=4)
    counts = stub.CountWords(
        messages.CountWordsRequest(text=text, options=options), metadata=IN
    ).value
    assert dict(counts) == {"ship": 2, "came": 1, "other": 1}


def picture(width, height):
    """A PNG of one colour, made by hand."""

    def chunk(kind, content):
        checked = kind + content
        return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))

    rows = (b"\0" + b"\x20\x60\xa0" * width) * height
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def test_thumbnail_takes_and_gives_bytes(real, channel):
    messages, services = real.load("demo/thumbnail/pictures/v0_1/pictures")
    stub = services.PicturesStub(channel)
    options = messages.Options(
        size=messages.Size(width=32, height=32), fit=messages.FIT_CONTAIN
    )
    request = messages.ShrinkRequest(picture=picture(640, 320), options=options)
    small = stub.Shrink(request, metadata=IN).ok
    assert (small.size.width, small.size.height) == (32, 16)
    assert (small.original.size.width, small.original.format) == (640, messages.FORMAT_PNG)
    assert small.data.startswith(b"\x89PNG")
    request = messages.ShrinkRequest(picture=b"no picture", options=options)
    answer = stub.Shrink(request, metadata=IN)
    assert answer.WhichOneof("result") == "error"
    assert answer.error.WhichOneof("kind") == "unreadable"


def test_reward_grades_in_python(real, channel):
    messages, services = real.load("demo/reward/grade/v0_1/grade")
    stub = services.GradeStub(channel)
    attempts = [
        messages.Attempt(prompt="1/2 + 1/4?", completion=completion, reference="3/4")
        for completion in (r"It is \boxed{0.75}.", r"So \boxed{\frac{2}{3}}", "No idea.")
    ]
    judged = stub.Grade(messages.GradeRequest(attempts=attempts), metadata=IN).value
    assert [judgement.outcome for judgement in judged] == [
        messages.OUTCOME_CORRECT,
        messages.OUTCOME_INCORRECT,
        messages.OUTCOME_NO_ANSWER,
    ]
    assert [judgement.score for judgement in judged] == [1, 0, 0]
    assert judged[0].answer == "0.75"
    assert not judged[2].HasField("answer")
