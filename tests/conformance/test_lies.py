"""Servers that lie: nobody but their callers notices, and those get typed errors."""

import grpc
import pytest
from processes import until
from stage import LIAR, refused, whole

UNAVAILABLE = grpc.StatusCode.UNAVAILABLE
CONTRACT = {
    "missing-method": "Probe/Echo: is not served",
    "missing-service": "Probe: is not served",
    "streaming": "Echo: its responses are a stream",
    "field-number": "EchoRequest field 1: (data) is missing",
    "field-type": "EchoRequest field 1: is string, and should be bytes",
    "no-reflection": "its reflection",
}
UNWELL = {
    "never-serving": "does not serve yet",
    "huge-reflection": "its reflection: it sent a message of",
    "deaf": "not ready within",
    "babble": "not ready within",
}
MUTE = ("deaf", "babble")
# Of pods, Kubernetes says it.
ENDS = {
    "wrong-socket": {"processes": "nobody listens", "pods": "it ended with"},
    "crash": {"processes": "status 1", "pods": "it ended with 1"},
    "crash-when-ready": {"processes": "status 1", "pods": "it ended with 1"},
}
# What a caller gets of a lie.
ANSWERS = {
    "status": ("GUEST_TRAP", grpc.StatusCode.ABORTED),
    "huge-headers": ("GUEST_TRAP", grpc.StatusCode.ABORTED),
    "huge-trailers": ("GUEST_TRAP", grpc.StatusCode.ABORTED),
    "huge-message": ("OUTPUT_LIMIT", grpc.StatusCode.RESOURCE_EXHAUSTED),
    "hang": ("DEADLINE", grpc.StatusCode.DEADLINE_EXCEEDED),
    "exit": ("INTERRUPTED", UNAVAILABLE),
}
STREAMS = {"break": "INTERRUPTED", "hang": "STREAM_IDLE"}


@pytest.fixture
def liar(stage):
    def make(lie, limits=None, **native):
        whole = {"env": {"LIE": lie}, "concurrent": ["*"], "grace": "2s"} | native
        return stage(LIAR, limits, **whole)

    return make


def is_well(neighbour):
    """It answers at the first call."""
    return bytes(neighbour.module().echo(b"well")) == b"well"


def test_a_contract_that_is_not_kept_is_never_ready(liar, neighbour):
    liars = {lie: liar(lie, activation_timeout="30s") for lie in CONTRACT}
    for lie, one in liars.items():
        one.reaches("failed", because=CONTRACT[lie])
        error = refused(lambda one=one: one.module().echo(b"x"))
        assert (error.reason, error.code) == ("NOT_READY", UNAVAILABLE), lie
        assert "ContractMismatch" in str(error), lie
        assert is_well(neighbour)


def test_a_server_that_ends_at_its_start_is_never_ready(liar, neighbour, backend):
    probes = {"startup": "3s", "period": "1s"}
    liars = {lie: liar(lie, activation_timeout="1s", probes=probes) for lie in ENDS}
    for lie, one in liars.items():
        until(f"{lie} is begun again", lambda one=one: backend.starts(one) > 1)
        one.reaches("failed", "backing-off", because=ENDS[lie][backend.name])
        error = refused(lambda one=one: one.module().echo(b"x"))
        assert (error.reason, error.code) == ("NOT_READY", UNAVAILABLE), lie
        assert is_well(neighbour)


def test_a_server_that_is_never_well_is_never_called(liar, neighbour):
    probes = {"startup": "3s", "period": "1s"}
    liars = {lie: liar(lie, activation_timeout="1s", probes=probes) for lie in UNWELL}
    for lie, one in liars.items():
        until(f"{lie} runs", one.processes)
        error = refused(lambda one=one: one.module().echo(b"x"))
        assert (error.reason, error.code) == ("NOT_READY", UNAVAILABLE), lie
        assert one.standing()["state"] != "ready"
        assert is_well(neighbour)


def test_a_server_that_is_never_well_is_begun_again(liar, neighbour, backend):
    probes = {"startup": "3s", "period": "1s"}
    liars = {lie: liar(lie, activation_timeout="1s", probes=probes) for lie in UNWELL}
    for lie, one in liars.items():
        error = refused(lambda one=one: one.module().echo(b"x"))
        assert (error.reason, error.code) == ("NOT_READY", UNAVAILABLE), lie
    for lie, one in liars.items():
        # Why it cannot connect to a pod, be it by its own certificate, a host does not know.
        if backend.name == "pods" and lie in MUTE:
            continue
        had = one.processes()

        def is_told(one=one, why=UNWELL[lie]):
            return why in backend.cli("logs", one.name).stdout

        until(f"{lie} is told of", is_told)
        until("another server", lambda one=one, had=had: set(one.processes()) - set(had))
        assert is_well(neighbour)


def test_servers_that_crash_are_begun_ever_more_seldom(liar, neighbour, backend):
    one = liar("crash", activation_timeout="1s")
    until("it was begun again and again", lambda: backend.starts(one) >= 3)
    one.reaches("backing-off")
    assert "I do not want to" in backend.log(one)
    error = refused(lambda: one.module().echo(b"x"))
    assert (error.reason, error.code) == ("NOT_READY", UNAVAILABLE)
    assert is_well(neighbour)


def test_answers_that_lie_are_typed_errors(liar, neighbour):
    limits, probes = {"deadline": "4s"}, {"startup": "60s"}
    liars = {lie: liar(lie, limits=limits, probes=probes) for lie in ANSWERS}
    for lie, one in liars.items():
        one.reaches("ready")
        error = refused(lambda one=one: one.module().echo(b"x"))
        assert (error.reason, error.code) == ANSWERS[lie], lie
        assert len(str(error)) < 2000, lie
        assert is_well(neighbour)


def test_streams_that_lie_hurt_nobody(liar, neighbour):
    liars = {lie: liar(lie, limits={"stream_idle": "2s"}) for lie in STREAMS}
    for lie, one in liars.items():
        one.reaches("ready")
        _, error = whole(one.module().count(1))
        assert error.reason == STREAMS[lie]
        one.rests()
        assert is_well(neighbour)


def test_a_stream_without_an_end_ends_with_its_reader(liar, neighbour):
    one = liar("flood")
    one.reaches("ready")
    with one.opened("Count", 1) as stream:
        for _ in range(10):
            next(stream)
        assert is_well(neighbour)
    one.rests()
    assert is_well(neighbour)


def test_a_stream_that_was_answered_is_not_answered_again(liar):
    one = liar("not-ready-late", replicas=2)
    one.reaches("ready")
    items, error = whole(one.module().count(1))
    assert items == [1]
    assert (error.reason, error.code) == ("INTERRUPTED", UNAVAILABLE)


def test_a_call_that_was_given_up_keeps_its_turn(stage):
    """Its server runs on, and the next call waits for that."""
    one = stage(LIAR, env={"LIE": "runs-on"})
    one.reaches("ready")
    hasty = one.module().with_options(timeout=1)
    assert refused(lambda: hasty.echo(b"x")).code == grpc.StatusCode.DEADLINE_EXCEEDED
    assert bytes(one.module().echo(b"x")) == b"\x01", "calls that ran beside each other"


def test_a_server_that_hears_nothing_when_told_to_end_ends(liar):
    one = liar("stubborn", grace="2s")
    one.reaches("ready")
    before = set(one.processes())
    one.push(env={"LIE": "stubborn", "NEW": "1"})
    until("the end of the first", lambda: not before & set(one.processes()))
