"""The codec against protobuf's own, both ways, and what it refuses."""

from __future__ import annotations

import math
import random
from typing import Any

import numpy as np
import pytest
from harness import Planned
from values import Maker, Messages, same

from roadstead import Err, classes
from roadstead.plan import Method
from roadstead.wire import BadInput, BadValue, Codec, arrays, plain

WIT = """package acme:kinds@0.3.1;

interface shapes {
  record point { x: f64, y: f64 }
  enum colour { red, deep-blue }
}

interface kinds {
  use shapes.{point, colour};
  variant lot { empty, weight(f32), named-list(list<string>), pair(tuple<u8, string>),
                nested(option<u32>), flat(list<u16>) }
  flags rights { read, run-it }
  record everything {
    truth: bool, tiny: u8, small: u16, medium: u32, large: u64,
    signed-tiny: s8, signed-small: s16, signed-medium: s32, signed-large: s64,
    half: f32, whole: f64, letter: char, text: string, blob: list<u8>,
    tags: list<string>, grid: list<list<u16>>, blobs: list<list<u8>>,
    corner: option<point>, spot: point, paint: colour, paints: list<colour>,
    lot: lot, lots: list<lot>, rights: rights,
    maybe-number: option<u32>, twice: option<option<s32>>, maybe-list: option<list<string>>,
    maybe-blob: option<list<u8>>, maybe-text: option<string>, maybe-paint: option<colour>,
    pair: tuple<u32, string>, outcome: result<u32, string>, quiet: result,
    one-sided: result<_, string>, points: list<point>, options: list<option<u8>>,
    counts: map<string, u32>, places: map<s16, point>,
  }
  record numbers {
    truths: list<bool>, small: list<u16>, medium: list<u32>, large: list<u64>,
    signed-tiny: list<s8>, signed-small: list<s16>, signed-medium: list<s32>,
    signed-large: list<s64>, half: list<f32>, whole: list<f64>,
  }
  echo: func(all: everything, numbers: numbers) -> everything;
  try-it: func(n: u32) -> result<list<f32>, lot>;
  nothing: func();
}

world module { export kinds; }
"""

ROUNDS = 150


class Stage:
    def __init__(self, planned: Planned, *, plain_lists: bool = False) -> None:
        self.plan = planned.plan
        self.made = classes.Made(self.plan)
        self.classes = classes.bind(self.plan, self.made.find)
        self.codec = Codec(self.plan, self.classes, plain_lists=plain_lists)
        self.messages = Messages(planned.descriptors)

    def method(self, name: str) -> Method:
        return self.plan.methods["acme.kinds.kinds.v0_3.Kinds", name]

    def sample(self, seed: int) -> tuple[list[Any], Any]:
        """Arguments of `echo`, and protobuf's message of them."""
        request = self.method("Echo").request
        message = self.messages.new(request)
        return Maker(self.plan, self.classes, seed).fields(request, message), message

    def read(self, name: str, data: bytes) -> Any:
        return self.codec.decode_request(self.method(name), data)


@pytest.fixture(scope="session")
def wit(tmp_path_factory: pytest.TempPathFactory) -> Planned:
    return Planned(tmp_path_factory.mktemp("kinds") / "planned", WIT)


@pytest.fixture(params=["arrays", "plain"])
def stage(wit: Planned, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Stage:
    if request.param == "plain":
        monkeypatch.setattr("roadstead.wire.encode.lists", plain)
    return Stage(wit, plain_lists=request.param == "plain")


def test_what_it_writes_protobuf_reads(stage: Stage) -> None:
    for seed in range(ROUNDS):
        arguments, message = stage.sample(seed)
        written = stage.codec.encode_request(stage.method("Echo"), arguments)
        read = type(message).FromString(written)
        # Maps have no order; all else has one on the wire.
        assert read.SerializeToString(deterministic=True) == message.SerializeToString(
            deterministic=True
        ), seed


def test_what_protobuf_writes_it_reads(stage: Stage) -> None:
    for seed in range(ROUNDS):
        arguments, message = stage.sample(seed)
        read = stage.read("Echo", message.SerializeToString())
        assert same(arguments, read), seed


def test_unknown_fields_are_passed_over(stage: Stage) -> None:
    arguments, message = stage.sample(3)
    unknown = b"\xfa\x3e\x03abc" + b"\xf8\x3e\x05" + b"\xfb\x3e\x08\x01\xfc\x3e"
    unknown += b"\xfd\x3e1234" + b"\xf9\x3e12345678"
    data = unknown + message.SerializeToString() + unknown
    assert same(arguments, stage.read("Echo", data))


def test_a_message_may_come_in_parts(stage: Stage) -> None:
    _, message = stage.sample(5)
    _, other = stage.sample(6)
    merged = type(message)()
    data = other.SerializeToString() + message.SerializeToString()
    merged.MergeFromString(data)
    assert same(stage.read("Echo", merged.SerializeToString()), stage.read("Echo", data))


def test_cut_at_every_byte_it_is_refused_or_read_as_protobuf_reads_it(stage: Stage) -> None:
    _, message = stage.sample(11)
    data = message.SerializeToString()
    kind, refused = type(message), 0
    for end in range(len(data)):
        try:
            stage.read("Echo", data[:end])
        except BadInput as error:
            refused += 1
            assert str(error)
        else:
            kind.FromString(data[:end])
    assert refused > len(data) / 2


def test_noise_is_refused_with_a_typed_error(stage: Stage) -> None:
    pick = random.Random(1)
    _, message = stage.sample(12)
    whole = message.SerializeToString()
    for _ in range(2000):
        data = bytearray(whole)
        for _ in range(pick.choice([1, 2, 20])):
            data[pick.randrange(len(data))] = pick.randrange(256)
        try:
            stage.read("Echo", bytes(data))
        except BadInput:
            pass


def field(stage: Stage, name: str, **values: Any) -> bytes:
    """A valid request whose record `numbers` or `all` has these fields in place of others."""
    _, message = stage.sample(1)
    inner = getattr(message, name)
    for key, value in values.items():
        inner.ClearField(key)
        if isinstance(value, list):
            getattr(inner, key).extend(value)
        else:
            setattr(inner, key, value)
    return bytes(message.SerializeToString())


@pytest.mark.parametrize(
    ("path", "values", "text"),
    [
        ("all.tiny", {"tiny": 256}, "must be 0 to 255"),
        ("all.small", {"small": 65536}, "must be 0 to 65535"),
        ("all.signed_tiny", {"signed_tiny": -129}, "must be -128 to 127"),
        ("all.signed_small", {"signed_small": 40000}, "must be -32768 to 32767"),
        ("all.letter", {"letter": "ab"}, "must be exactly one Unicode scalar value"),
        ("all.letter", {"letter": ""}, "must be exactly one Unicode scalar value"),
        ("all.paint", {"paint": 0}, "must be set"),
        ("all.paint", {"paint": 9}, "9 is none of its values"),
        ("all.paint", {"paint": -2}, "-2 is none of its values"),
        ("all.paints[1]", {"paints": [1, 7]}, "7 is none of its values"),
    ],
)
def test_values_out_of_range_are_refused_with_their_path(
    stage: Stage, path: str, values: dict[str, Any], text: str
) -> None:
    with pytest.raises(BadInput) as refused:
        stage.read("Echo", field(stage, "all", **values))
    assert (refused.value.path, refused.value.description) == (path, text)


@pytest.mark.parametrize(
    ("path", "values"),
    [
        ("numbers.small[2]", {"small": [1, 2, 70000]}),
        ("numbers.signed_tiny[0]", {"signed_tiny": [128]}),
        ("numbers.signed_small[3]", {"signed_small": [0, 0, 0, -40000, 1]}),
    ],
)
def test_numbers_in_lists_are_checked(stage: Stage, path: str, values: dict[str, Any]) -> None:
    with pytest.raises(BadInput) as refused:
        stage.read("Echo", field(stage, "numbers", **values))
    assert refused.value.path == path


def test_what_must_be_set_is_missed(stage: Stage) -> None:
    with pytest.raises(BadInput) as refused:
        stage.read("Echo", b"")
    assert (refused.value.path, refused.value.description) == ("all", "must be set")
    _, message = stage.sample(2)
    message.all.lot.Clear()
    message.all.lot.SetInParent()
    with pytest.raises(BadInput) as refused:
        stage.read("Echo", message.SerializeToString())
    assert refused.value.path == "all.lot"
    assert "one of its cases must be set" in refused.value.description
    _, message = stage.sample(2)
    message.all.ClearField("rights")
    (everything, _) = stage.read("Echo", message.SerializeToString())
    assert not everything.rights, "missing flags are none set"


def test_lists_that_are_not_packed_are_read(stage: Stage) -> None:
    plan = stage.plan.messages["acme.kinds.kinds.v0_3.Numbers"]
    number = {member.name: member.number for member in plan.fields}
    tag = plain.encode_varint
    data = b"".join((
        tag(number["small"] << 3) + tag(300), tag(number["small"] << 3 | 2) + b"\x02\x01\x02",
        tag(number["small"] << 3) + tag(7),
        tag(number["half"] << 3 | 5) + np.float32(1.5).tobytes(),
        tag(number["truths"] << 3) + b"\x01",
    ))  # fmt: skip
    read = stage.codec.decoder.message(plan.name, data)
    assert list(read.small) == [300, 1, 2, 7]
    assert (list(read.half), list(read.truths)) == ([1.5], [True])


def test_every_nan_is_the_same(stage: Stage) -> None:
    odd = np.array([1.0, np.nan, -np.nan, 2.0], np.float32)
    odd.view(np.uint32)[1] = 0xFFC0_1234
    method = stage.method("TryIt")
    written = stage.codec.encode_response(method, odd if stage.codec.decoder._views else odd.tolist())
    raw = np.frombuffer(written[-16:], np.uint32)
    assert raw[1] == raw[2] == 0x7FC0_0000
    data = written[:-16] + odd.tobytes()
    read = np.asarray(stage.codec.decode_response(method, data), np.float32)
    assert read.view(np.uint32)[1] == 0x7FC0_0000 and math.isnan(read[2])


def test_nesting_has_a_limit(stage: Stage) -> None:
    group = b"\xfb\x3e" * 101 + b"\xfc\x3e" * 101
    with pytest.raises(BadInput, match="nested deeper"):
        stage.codec.decoder.check(group)


@pytest.mark.parametrize(
    "data",
    [b"\x00\x00", b"\x0e", b"\x0f\x01", b"\x0c", b"\x0b\x14", b"\xff" * 11,
     b"\x80" * 10 + b"\x01", b"\x0a\xff"],  # fmt: skip
)
def test_bytes_that_are_no_message_are_refused(stage: Stage, data: bytes) -> None:
    with pytest.raises(BadInput):
        stage.read("Echo", data)


def test_a_result_is_the_value_or_raised(stage: Stage) -> None:
    method, codec = stage.method("TryIt"), stage.codec
    assert list(codec.decode_response(method, codec.encode_response(method, [1.0, 2.0]))) == [1, 2]
    weight = stage.made.find("acme:kinds/kinds@0.3.1", "Lot_Weight")
    with pytest.raises(Err) as raised:
        codec.decode_response(method, codec.encode_response(method, Err(weight(2.5))))
    assert raised.value.value == weight(2.5)


@pytest.mark.parametrize("bits", [14, 35, 56, 57, 63, 64])
def test_large_lists_of_every_length_of_varint(stage: Stage, bits: int) -> None:
    powers = [number for shift in range(bits) for number in (1 << shift, (2 << shift) - 1)]
    numbers = powers * (40_000 // len(powers)) + [0]
    method = stage.method("Echo")
    arguments, message = stage.sample(4)
    arguments[1].large = numbers
    del message.numbers.large[:]
    message.numbers.large.extend(numbers)
    written = stage.codec.encode_request(method, arguments)
    assert type(message).FromString(written).numbers.large == message.numbers.large
    assert list(stage.read("Echo", written)[1].large) == numbers


def wrong(path: str, **values: Any) -> Any:
    return pytest.param(path, values, id=f"{path}-{next(iter(values.values()))!r:.20}")


@pytest.mark.parametrize(
    ("path", "values"),
    [
        wrong("all.tiny", tiny=256),
        wrong("all.tiny", tiny=-1),
        wrong("all.tiny", tiny=1.5),
        wrong("all.tiny", tiny=True),
        wrong("all.truth", truth=1),
        wrong("all.half", half="1"),
        wrong("all.letter", letter="ab"),
        wrong("all.text", text=b"bytes"),
        wrong("all.text", text="\ud800"),
        wrong("all.blob", blob="text"),
        wrong("all.tags", tags="text"),
        wrong("all.tags[1]", tags=["a", 1]),
        wrong("all.paint", paint=1),
        wrong("all.rights", rights=1),
        wrong("all.lot", lot="empty"),
        wrong("all.spot", spot=None),
        wrong("all.pair", pair=[1, "a"]),
        wrong("all.outcome", outcome=5),
        wrong("all.twice", twice=5),
        wrong("all.counts", counts=[]),
        wrong("all.counts['a']", counts={"a": -1}),
        wrong("all.grid[0].items[1]", grid=[[1, 70000]]),
    ],
)
def test_values_of_other_types_are_refused_with_their_path(
    stage: Stage, path: str, values: dict[str, Any]
) -> None:
    arguments, _ = stage.sample(1)
    for name, value in values.items():
        setattr(arguments[0], name, value)
    with pytest.raises(BadValue) as refused:
        stage.codec.encode_request(stage.method("Echo"), arguments)
    assert refused.value.path == path


@pytest.mark.parametrize(
    ("scalar", "values", "says"),
    [
        ("f64", [1.0, "x"], "[1]: must be a number, not str"),
        ("f64", [1.0, None], "[1]: must be a number, not NoneType"),
        ("f32", np.array(["a"]), "[0]: must be a number, not str"),
        ("u32", [1, "x"], "[1]: must be an integer, not str"),
        ("u32", [1, 2.5], "[1]: must be an integer, not float"),
        ("bool", np.array([1]), "[0]: must be a bool, not int"),
    ],
)
def test_what_does_not_fit_in_a_list_is_told_without_numpy_s_names(
    scalar: str, values: Any, says: str
) -> None:
    for lists in (arrays, plain):
        if lists is plain and isinstance(values, np.ndarray):
            continue
        with pytest.raises(BadValue) as refused:
            lists.write(scalar, values)
        assert str(refused.value) == says


def test_arrays_of_any_kind_that_fits_are_taken(wit: Planned) -> None:
    stage = Stage(wit)
    arguments, _ = stage.sample(1)
    numbers = arguments[1]
    numbers.small = np.arange(10, dtype=np.int64)[::2]
    numbers.half = np.arange(4, dtype=">f8")
    numbers.truths = np.array([True, False])
    numbers.whole = np.ones(2).data
    written = stage.codec.encode_request(stage.method("Echo"), arguments)
    read = stage.read("Echo", written)[1]
    assert read.small.tolist() == [0, 2, 4, 6, 8] and read.small.dtype == np.uint16
    assert read.half.tolist() == [0, 1, 2, 3] and read.truths == [True, False]
    for bad in (np.ones((2, 2)), np.array(["a"]), np.array([1.5]), np.array([-1])):
        numbers.small = bad
        with pytest.raises(BadValue):
            stage.codec.encode_request(stage.method("Echo"), arguments)


def test_arrays_of_floats_and_bytes_are_views(wit: Planned) -> None:
    stage = Stage(wit)
    method = stage.method("TryIt")
    data = stage.codec.encode_response(method, np.ones(1000, np.float32))
    read = stage.codec.decode_response(method, data)
    assert np.shares_memory(read, np.frombuffer(data, np.uint8))


def test_messages_that_are_replaced_are_checked_all_the_same(stage: Stage) -> None:
    lot = stage.plan.messages["acme.kinds.kinds.v0_3.Lot"]
    number = {member.name: member.number for member in lot.fields}
    tag = plain.encode_varint
    # A list of names that is not UTF-8, and then another case.
    bad = tag(number["named-list"] << 3 | 2) + b"\x03\x0a\x01\xff"
    weight = tag(number["weight"] << 3 | 5) + b"\0\0\0\0"
    with pytest.raises(BadInput):
        stage.codec.decoder.message(lot.name, bad + weight)
    good = tag(number["named-list"] << 3 | 2) + b"\x03\x0a\x01a"
    assert type(stage.codec.decoder.message(lot.name, good + weight)).__name__ == "Lot_Weight"
