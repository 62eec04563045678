"""The Python package `roadstead` against a host: modules as objects, with real types and errors."""

import asyncio
import inspect

import harness
import numpy as np
import pytest

import roadstead

PATIENCE = 60


@pytest.fixture
def connected(host, namespace):
    with roadstead.connect(host.address, namespace=namespace, timeout=PATIENCE) as connected:
        yield connected


def push(cli, name):
    cli.push(harness.module(name), *harness.spec_of(name))
    return name


def test_a_module_is_an_object(cli, connected):
    stats = connected.module(push(cli, "text-stats"))
    said = stats.summarize("the ship, the sea")
    assert said.words == 4 and isinstance(said, stats.Summary)
    signature = inspect.signature(stats.similarity)
    assert list(signature.parameters) == ["a", "b"]
    assert signature.return_annotation is float
    assert stats.similarity.__doc__.startswith("How alike the words")
    options = stats.WordOptions(case_sensitive=False, min_length=0, stop_words=["b"])
    assert stats.count_words("a b A", options) == {"a": 2}


def test_resources_are_objects_that_live_in_the_module(cli, connected):
    stats = connected.module(push(cli, "running-stats"))
    with stats.Series() as series, stats.Series() as other:
        assert series.add(np.array([1.0, 2.0, 6.0])) == 3
        assert series.summary().mean == 3.0
        assert other.summary() is None
        with pytest.raises(roadstead.Err) as raised:
            series.add([float("nan")])
        assert raised.value.value == stats.Problem_NotFinite(0)
        beside = series.beside()
        beside.add([5.0, 7.0])
        assert stats.compare(series, beside) is not None
    with pytest.raises(roadstead.BadValue, match="closed"):
        series.add([1.0])


def test_streams_are_iterators(cli, connected):
    csv = connected.module(push(cli, "csv-reader"))
    options = csv.Options(delimiter=None, ragged=False)
    rows = list(csv.rows([b"a,b\n1", b",2\n"], options))
    assert [row.fields for row in rows] == [["a", "b"], ["1", "2"]]
    with pytest.raises(roadstead.Err) as raised:
        list(csv.rows([b"a,b\n1\n"], options))
    assert raised.value.value.trouble == csv.Trouble_Ragged(csv.Ragged(2, 1))
    assert csv.summarize(iter([b"a\n1\n3\n"]), options, True).columns[0].numbers.mean == 2.0


def test_both_directions_stream_at_once_also_for_async_code(host, cli, namespace):
    push(cli, "moving-average")

    async def main():
        async with roadstead.connect_async(
            host.address, namespace=namespace, timeout=PATIENCE
        ) as connected:
            averages = await connected.module("moving-average")
            means = [mean async for mean in averages.smooth([1.0, 2.0, 3.0], 2)]
            assert means == [1.0, 1.5, 2.5]
            async with await averages.Window(2) as window:
                assert list(await window.add([4.0, 6.0])) == [4.0, 5.0]

    asyncio.run(main())


def test_python_guests_get_records_and_enums(cli, connected):
    grade = connected.module(push(cli, "reward"))
    attempt = grade.Attempt("2 + 2?", r"It is \boxed{4}", "4")
    (judged,) = grade.grade([attempt])
    assert (judged.score, judged.outcome) == (1.0, grade.Outcome.CORRECT)
    assert grade["grade"].equivalent("1/2", "0.5") is True


def test_failures_have_types(cli, connected):
    trap = connected.module(push(cli, "hostile-trap"))
    with pytest.raises(roadstead.ModuleFailed) as trapped:
        trap.abort()
    assert trapped.value.reason == "GUEST_TRAP"
    assert trapped.value.trailers["roadstead-module"] == "hostile-trap@0.1.0"
    spin = connected.module(push(cli, "hostile-spin"))
    with pytest.raises(roadstead.CallError) as spun:
        spin.with_options(timeout=1).forever()
    assert isinstance(spun.value, (roadstead.DeadlineExceeded, roadstead.LimitReached))
    with pytest.raises(roadstead.NotFound) as missing:
        connected.module("nowhere")
    assert missing.value.reason == "NO_SUCH_MODULE"


def test_a_version_can_be_named(cli, connected):
    push(cli, "echo")
    assert bytes(connected.module("echo@0.1.0").bytes(b"abc")) == b"abc"
    with pytest.raises(roadstead.NotFound) as missing:
        connected.module("echo@9.9.9")
    assert missing.value.reason == "NO_SUCH_VERSION"
