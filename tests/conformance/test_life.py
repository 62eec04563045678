"""From a server's start to its end."""

import signal
import threading

import grpc
from processes import until
from stage import LIAR, PROBE, refused, together

import roadstead


def test_a_server_that_is_killed_is_begun_again(stage):
    probe = stage(PROBE, concurrent=["*"])
    probe.reaches("ready")
    killed = probe.signal(signal.SIGKILL)
    probe.answers()
    assert not set(killed) & set(probe.processes())


def test_a_server_that_is_stopped_is_noticed(stage):
    probe = stage(PROBE, probes={"period": "1s", "failures": 2}, concurrent=["*"])
    probe.reaches("ready")
    stopped = probe.signal(signal.SIGSTOP)
    # A call that finds it stopped is not left hanging.
    try:
        assert bytes(probe.module().echo(b"x")) == b"x"
    except roadstead.CallError as error:
        assert error.reason == "INTERRUPTED"
    until("another server", lambda: set(probe.processes()) - set(stopped))
    probe.answers()


def test_a_server_that_is_stuck_is_noticed(stage):
    probes = {"period": "1s", "progress": "2s"}
    probe = stage(PROBE, probes=probes, concurrent=["*"])
    probe.reaches("ready")
    stuck = probe.processes()
    error = refused(lambda: probe.module().fail("hang"))
    assert (error.reason, error.code) == ("INTERRUPTED", grpc.StatusCode.UNAVAILABLE), str(error)
    until("another server", lambda: set(probe.processes()) - set(stuck))
    probe.answers()


def test_an_idle_server_ends_and_a_call_begins_the_next(stage):
    probe = stage(PROBE, idle="2s", concurrent=["*"])
    probe.reaches("idle")
    until("its end", lambda: not probe.processes())
    module = probe.module()
    # Many at once begin one server.
    whos = together(*[module.who] * 5)
    assert len({(who.epoch, who.process) for who in whos}) == 1
    assert len(probe.processes()) == 1


def test_a_call_that_runs_is_finished_when_its_server_ends(stage):
    probe = stage(PROBE, concurrent=["*"], grace="60s")
    probe.reaches("ready")
    goes_on = threading.Event()

    def numbers():
        yield 1
        goes_on.wait()
        yield from range(2, 50)

    sums = probe.module().sums(numbers())
    assert next(sums) == 1
    probe.push(env={"NEW": "1"})
    module = probe.module()
    until("the next version answers", lambda: module.look("env:NEW") == "1")
    probe.reaches("draining", "off", version="0.1.0")
    goes_on.set()
    assert list(sums)[-1] == sum(range(50))
    probe.reaches("off", version="0.1.0")
    until("one server", lambda: len(probe.processes()) == 1)


def test_another_version_is_ready_before_the_first_one_ends(stage):
    probe = stage(PROBE, concurrent=["*"])
    probe.reaches("ready")
    module = probe.module()
    probe.push(env={"NEW": "1"})
    # Each of these is answered.
    until("the next version answers", lambda: module.look("env:NEW") == "1")
    probe.reaches("off", version="0.1.0")
    assert module.look("env:NEW") == "1"


def test_a_version_that_is_never_ready_takes_nothing_down(stage):
    one = stage(PROBE, concurrent=["*"], probes={"startup": "3s", "period": "1s"})
    one.reaches("ready")
    one.program = LIAR
    one.push(env={"LIE": "crash"})
    one.reaches("failed", "backing-off", version="0.1.1")
    one.reaches("ready", version="0.1.0")
    for _ in range(20):
        assert bytes(one.module().echo(b"on")) == b"on"


def test_a_version_that_is_not_to_run_says_so(stage):
    probe = stage(PROBE, concurrent=["*"])
    probe.push(env={"NEW": "1"})
    probe.reaches("ready", version="0.1.1")
    probe.reaches("off", version="0.1.0")
    error = refused(lambda: probe.module("0.1.0").echo(b"x"))
    assert (error.reason, error.code) == ("NOT_READY", grpc.StatusCode.UNAVAILABLE)
    assert "pin" in str(error)
    assert bytes(probe.module("0.1.1").echo(b"x")) == b"x"


def test_replicas_share_calls_and_stand_in_for_each_other(stage):
    probe = stage(PROBE, replicas=2, idempotent=["*"])
    until("two servers", lambda: len(probe.standing()["attempts"]) == 2)
    probe.reaches("ready")
    until("both are ready", lambda: ready(probe) == 2)
    module = probe.module()
    # Methods that run alone run alone on each of them.
    assert together(*[lambda: module.wait(1000)] * 2) == [1, 1]
    probe.signal(signal.SIGKILL, at_most=1)
    for _ in range(20):
        assert bytes(module.echo(b"x")) == b"x"
    until("both are ready again", lambda: ready(probe) == 2)


def ready(probe):
    return [one["state"] for one in probe.standing()["attempts"]].count("ready")
