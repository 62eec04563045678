"""A client with stubs that Google's protoc generated from `roadstead proto`."""

import math

import grpc
import pytest
from errors import failure
from google.protobuf import json_format
from harness import Cli, namespaced, varints

EVERYTHING = {
    "truth": True,
    "tiny": 255, "small": 65535, "medium": 4294967295, "large": "18446744073709551615",
    "signedTiny": -128, "signedSmall": -32768, "signedMedium": -2147483648,
    "signedLarge": "-9223372036854775808",
    "half": -0.5, "whole": 1e308,
    "letter": "🚢", "text": "naïve\u0000text", "blob": "AAEC/w==",
    "tags": ["a", "", "b"], "numbers": [-1, 0, 2147483647],
    "grid": [{"items": [1, 2]}, {}, {"items": [65535]}],
    "corner": {"x": 1.5, "y": -2.5}, "spot": {"x": 0.0, "y": 3.0}, "paint": "COLOUR_DEEP_BLUE",
    "lot": {"namedList": {"items": ["x", "y"]}},
    "lots": [
        {"empty": {}}, {"weight": 2.5}, {"pair": {"f0": 7, "f1": "seven"}},
        {"nested": {"value": 9}}, {"nested": {}}, {"namedList": {}},
    ],
    "rights": {"read": True, "runIt": True},
    "maybeNumber": 0, "twice": {"value": -3}, "maybeList": {"items": ["m"]},
    "pair": {"f0": 1, "f1": "one"}, "outcome": {"error": "no"}, "quiet": {"ok": {}},
    "oneSided": {"error": "late"},
    "points": [{"x": 1.0, "y": 1.0}], "options": [{"value": 3}, {}],
}  # fmt: skip

# What must be there, messages that are not optional and enums; and flags, which may be missing.
LEAST = {
    "letter": "x", "spot": {}, "paint": "COLOUR_RED", "lot": {"empty": {}}, "pair": {}, "rights": {},
    "outcome": {"ok": 0}, "quiet": {"error": {}}, "oneSided": {"ok": {}},
}  # fmt: skip


@pytest.fixture
def stub(kinds, channel):
    return kinds[1].KindsStub(channel)


@pytest.fixture
def request_of(kinds):
    def make(everything):
        return json_format.ParseDict({"all": everything}, kinds[0].EchoRequest())

    return make


IN = namespaced("kinds")


def test_every_kind_of_value_comes_back(stub, request_of):
    for sent in (EVERYTHING, LEAST):
        request = request_of(sent)
        assert stub.Echo(request, metadata=IN).value == request.all


def test_absent_and_empty_options_differ(stub, request_of):
    none = stub.Echo(request_of(LEAST), metadata=IN).value
    assert not none.HasField("maybe_number")
    assert not none.HasField("twice")
    assert not none.HasField("corner")
    some = stub.Echo(request_of({**LEAST, "maybeNumber": 0, "twice": {}}), metadata=IN).value
    assert some.HasField("maybe_number")
    assert some.HasField("twice")
    assert not some.twice.HasField("value")


def test_missing_flags_are_none_set(stub, request_of):
    request = request_of(LEAST)
    request.all.ClearField("rights")
    answer = stub.Echo(request, metadata=IN).value
    assert not answer.rights.read and not answer.rights.run_it


def test_floats_keep_what_they_can(stub, request_of):
    request = request_of(LEAST)
    for value in (math.inf, -math.inf, 5e-324, -0.0):
        request.all.whole = value
        answer = stub.Echo(request, metadata=IN).value.whole
        assert (answer, math.copysign(1, answer)) == (value, math.copysign(1, value))
    request.all.whole = math.nan
    assert math.isnan(stub.Echo(request, metadata=IN).value.whole)


def test_a_large_message_comes_back(stub, request_of):
    request = request_of(LEAST)
    request.all.blob = bytes(range(256)) * 3000
    request.all.tags.extend(f"tag {i}" for i in range(1000))
    assert stub.Echo(request, metadata=IN).value == request.all


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"tiny": 256}, "all.tiny"),
        ({"small": 65536}, "all.small"),
        ({"signedTiny": 128}, "all.signed_tiny"),
        ({"signedSmall": -32769}, "all.signed_small"),
        ({"letter": "two"}, "all.letter"),
        ({"letter": ""}, "all.letter"),
        ({"paint": 0}, "all.paint"),
        ({"paint": 77}, "all.paint"),
        ({"lot": {}}, "all.lot"),
        ({"lots": [{"empty": {}}, {"pair": {"f0": 256}}]}, "all.lots[1].pair.f0"),
        ({"grid": [{}, {"items": [1, 65536]}]}, "all.grid[1].items[1]"),
        ({"outcome": {}}, "all.outcome"),
        ({"options": [{"value": 256}]}, "all.options[0].value"),
        ({"spot": None}, "all.spot"),
        ({"pair": None}, "all.pair"),
    ],
)
def test_bad_input_names_the_field(stub, request_of, change, field):
    request = request_of({**LEAST, **{k: v for k, v in change.items() if v is not None}})
    for name, value in change.items():
        if value is None:
            request.all.ClearField(name)
    error = failure(lambda: stub.Echo(request, metadata=IN))
    assert error.code == grpc.StatusCode.INVALID_ARGUMENT
    assert error.reason == "BAD_INPUT"
    assert error.info.domain == "roadstead.dev"
    (found,) = error.fields
    assert found == field or found.startswith(f"{field}."), found
    assert field in error.text


def test_bytes_that_are_no_message_are_bad_input(channel):
    call = channel.unary_unary("/acme.kinds.kinds.v0_3.Kinds/Echo")
    for garbage in (b"\xff\xff\xff\xff", b"\x0a\x05ab", b"\x0a\xff\xff\xff\xff\x0f", b"\x0b\x0b"):
        error = failure(lambda garbage=garbage: call(garbage, metadata=IN))
        assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "BAD_INPUT")
    invalid_text = b"\x0a\x02\xc3\x28"
    error = failure(
        lambda: channel.unary_unary("/acme.kinds.kinds.v0_3.Kinds/Swallow")(invalid_text, metadata=IN)
    )
    assert (error.reason, error.fields) == ("BAD_INPUT", ["text"])


def test_unknown_fields_are_ignored(kinds, channel):
    call = channel.unary_unary("/acme.kinds.kinds.v0_3.Kinds/Number")
    known = kinds[0].NumberRequest(value=5).SerializeToString()
    answer = call(known + b"\xfa\x3e\x03abc", metadata=IN)
    assert kinds[0].NumberResponse.FromString(answer).value == 5


def test_functions_without_a_result_and_of_the_world(kinds, stubs, channel, stub):
    assert stub.Swallow(kinds[0].SwallowRequest(text="gone"), metadata=IN).ByteSize() == 0
    messages, services = stubs.load("roadstead/module/kinds/v0_1/module")
    plain = services.ModuleStub(channel).Plain
    assert plain(messages.PlainRequest(value=-(2**63)), metadata=IN).value == -(2**63)


def test_trailers_tell_what_the_call_used(kinds, stub):
    _, call = stub.Number.with_call(kinds[0].NumberRequest(value=5), metadata=IN)
    trailers = dict(call.trailing_metadata())
    assert trailers["roadstead-module"] == "kinds@0.1.0"
    assert int(trailers["roadstead-fuel-consumed"]) > 0
    assert int(trailers["roadstead-peak-memory-bytes"]) >= 65536
    assert trailers["roadstead-instance"] == "fresh"
    assert len(trailers["roadstead-call"]) == 16


def test_a_trap_is_aborted_with_a_backtrace(kinds, stub):
    error = failure(lambda: stub.Broken(kinds[0].BrokenRequest(text="x"), metadata=IN))
    assert (error.code, error.reason) == (grpc.StatusCode.ABORTED, "GUEST_TRAP")
    assert "unreachable" in error.text
    assert error.debug.stack_entries
    assert error.trailers["roadstead-module"] == "kinds@0.1.0"


def test_what_does_not_exist_is_said_so(kinds, channel):
    def call(method, metadata):
        return failure(lambda: channel.unary_unary(method)(b"", metadata=metadata))

    error = call("/acme.kinds.kinds.v0_3.Kinds/Absent", IN)
    assert error.code == grpc.StatusCode.UNIMPLEMENTED
    for path in ("/acme.absent.v1.Absent/Call", "/x/y/z", "/x"):
        assert call(path, IN).code in (
            grpc.StatusCode.UNIMPLEMENTED,
            grpc.StatusCode.NOT_FOUND,
        ), path
    number = "/acme.kinds.kinds.v0_3.Kinds/Number"
    error = call(number, namespaced("kinds", ("roadstead-module", "absent")))
    assert (error.code, error.reason) == (grpc.StatusCode.NOT_FOUND, "NO_SUCH_MODULE")
    error = call(number, namespaced("kinds", ("roadstead-module", "kinds@9.9.9")))
    assert (error.code, error.reason) == (grpc.StatusCode.NOT_FOUND, "NO_SUCH_VERSION")
    for bad in ("Not A Name", "kinds@x", "@"):
        error = call(number, namespaced("kinds", ("roadstead-module", bad)))
        assert error.code == grpc.StatusCode.INVALID_ARGUMENT, bad
    # Another namespace does not see it.
    assert call(number, namespaced("elsewhere")).code != grpc.StatusCode.OK


def test_the_callers_deadline_counts(host, kinds, stubs, components, tmp_path):
    cli = Cli(host, "deadline")
    spec = tmp_path / "busy.yaml"
    spec.write_text("limits: {fuel_per_call: 1000000000000, deadline: 60s}")
    cli.push(components("busy"), "--name", "busy", "--spec", spec)
    with host.channel() as channel:
        busy = channel.unary_unary("/acme.busy.busy.v0_1.Busy/Busy")
        endless = varints((1 << 64) - 1)
        # The header reaches the host while this client itself waits for longer.
        error = failure(
            lambda: busy(endless, metadata=namespaced("deadline"), timeout=0.2)
        )
        assert error.code == grpc.StatusCode.DEADLINE_EXCEEDED


@pytest.mark.parametrize("algorithm", [grpc.Compression.Gzip, grpc.Compression.NoCompression])
def test_gzip_in_both_directions(host, kinds, request_of, algorithm):
    request = request_of(LEAST)
    request.all.blob = b"a" * 100_000
    with host.channel() as channel:
        stub = kinds[1].KindsStub(channel)
        assert stub.Echo(request, metadata=IN, compression=algorithm).value == request.all


def test_many_calls_on_one_connection(kinds, stub):
    calls = [
        stub.Number.future(kinds[0].NumberRequest(value=i), metadata=IN) for i in range(200)
    ]
    assert [call.result().value for call in calls] == list(range(200))
