"""Calls, as they pass through a host to a server and back."""

import grpc
import pytest
from errors import failure
from stage import PROBE, SERVICE, begin, refused, together, whole

import roadstead


def test_a_server_answers_and_streams_both_ways(stage):
    # A call waits for the server.
    probe = stage(PROBE, concurrent=["*"])
    module = probe.module()
    assert bytes(module.echo(b"text")) == b"text"
    large = bytes(range(256)) * 4096
    assert bytes(module.echo(large)) == large
    assert whole(module.count(1000)) == (list(range(1, 1001)), None)
    assert lock_step(module) == [1, 3, 6]
    assert probe.standing()["state"] == "ready"


def lock_step(module):
    """Sums, each of which is read before the next number is sent."""
    seen = []

    def numbers():
        for number in (1, 2, 3):
            while len(seen) < number - 1:
                pass
            yield number

    for total in module.sums(numbers()):
        seen.append(total)
    return seen


def test_a_server_is_told_who_calls_and_nothing_else(stage, backend):
    probe = stage(PROBE, concurrent=["*"])
    who = probe.module().who()
    assert (who.caller, who.module, list(who.path)) == ("token:admin", f"{probe.name}@0.1.0", [])
    forged = [
        ("roadstead-call-bin", b"\x0a\x05alice"),
        ("roadstead-signature-bin", b"\x00" * 32),
        ("roadstead-path", "outer"),
    ]
    metadata = [*backend.metadata, ("roadstead-module", probe.name), *forged]
    answer = backend.channel.unary_unary(f"/{SERVICE}/Who")(b"", metadata=metadata, timeout=60)
    assert b"token:admin" in answer
    assert b"alice" not in answer and b"outer" not in answer


def test_calls_run_one_at_a_time_unless_they_may_not(stage):
    beside = stage(PROBE, concurrent=["wait"])
    alone = stage(PROBE)
    for probe in (beside, alone):
        probe.reaches("ready")
    assert max(together(*[lambda: beside.module().wait(1500)] * 4)) > 1
    assert together(*[lambda: alone.module().wait(50)] * 4) == [1] * 4


def test_failures_keep_their_kind(stage, backend):
    probe = stage(PROBE, concurrent=["*"])
    module = probe.module()
    # An error of the WIT is an answer.
    with pytest.raises(roadstead.Err) as raised:
        module.fail("err")
    assert raised.value.value == module.Failure_Asked("as asked")
    # What the code raised is in its log alone.
    error = refused(lambda: module.fail("raise"))
    assert (error.reason, error.code) == ("GUEST_TRAP", grpc.StatusCode.ABORTED)
    assert "hunter22" not in str(error)
    assert "hunter22" in backend.log(probe)
    # A request that does not read.
    bad = failure(lambda: probe.call("Echo", b"\x0a\xff"))
    assert bad.code == grpc.StatusCode.INVALID_ARGUMENT
    error = refused(lambda: module.fail("exit"))
    assert (error.reason, error.code) == ("INTERRUPTED", grpc.StatusCode.UNAVAILABLE)


def test_a_deadline_ends_a_call(stage):
    probe = stage(PROBE, limits={"deadline": "5s"})
    probe.reaches("ready")
    module = probe.module()
    error = refused(lambda: module.wait(60_000))
    assert (error.reason, error.code) == ("DEADLINE", grpc.StatusCode.DEADLINE_EXCEEDED)
    # It was cancelled there too: the server is free for the next, which runs alone.
    assert module.wait(10) == 1
    # Waiting for a turn ends with the deadline as well.
    works = begin(module.work, 1500)
    hasty = module.with_options(timeout=0.3)
    assert refused(lambda: hasty.wait(10)).code == grpc.StatusCode.DEADLINE_EXCEEDED
    assert works.result() > 0


def test_messages_have_bounds_both_ways(stage):
    probe = stage(PROBE, limits={"input": "64Ki", "output": "32Ki"}, concurrent=["*"])
    probe.reaches("ready")
    module = probe.module()
    assert len(module.echo(bytes(32_000))) == 32_000
    for size, reason in ((65_536, "INPUT_LIMIT"), (40_000, "OUTPUT_LIMIT")):
        error = refused(lambda size=size: module.echo(bytes(size)))
        assert (error.reason, error.code) == (reason, grpc.StatusCode.RESOURCE_EXHAUSTED)
    # The server is as well as before.
    assert bytes(module.echo(b"x")) == b"x"


@pytest.mark.parametrize("again", [True, False])
def test_a_broken_call_runs_again_only_where_it_may(stage, kill_while, again):
    probe = stage(PROBE, concurrent=["look"], idempotent=["work" if again else "echo"])
    probe.reaches("ready")
    module = probe.module()
    works = kill_while(probe, module.work, 3000)
    if again:
        assert works.result() > 0
    else:
        error = refused(works.result)
        assert (error.reason, error.code) == ("INTERRUPTED", grpc.StatusCode.UNAVAILABLE)
        probe.answers()


def test_streams_hold_back_who_is_faster(stage):
    probe = stage(PROBE, concurrent=["*"])
    module = probe.module()
    with probe.opened("Count", 50_000_000) as stream:
        for _ in range(5):
            next(stream)
        # Nobody reads: what lies about is bounded.
        probe.settles()
        assert probe.running() == 1
    # Whoever leaves cancels.
    probe.rests()
    assert bytes(module.echo(b"x")) == b"x"
