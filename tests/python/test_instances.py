"""Instance policies, seen through a module that counts the calls its instance has answered."""

import grpc
import pytest
from errors import failure
from harness import Cli, module, namespaced, varints

COUNT = "/hostile.trap.trap.v0_1.Trap/Count"


class Counter:
    """Calls `count` and says what came back and which instance answered."""

    def __init__(self, channel, namespace):
        self.call = channel.unary_unary(COUNT)
        self.metadata = namespaced(namespace)

    def count(self):
        answer, call = self.call.with_call(varints(0), metadata=self.metadata)
        trailers = dict(call.trailing_metadata())
        return answer[1] if answer else 0, trailers["roadstead-instance"]

    def trap(self):
        return failure(lambda: self.call(varints(1), metadata=self.metadata))


@pytest.fixture
def counter(host, namespace, tmp_path):
    with host.channel() as channel:

        def pushed(instances, into=namespace):
            spec = tmp_path / "spec.yaml"
            spec.write_text(f"instances: {{{instances}}}")
            Cli(host, into).push(module("hostile-trap"), "--name", "trap", "--spec", spec)
            return Counter(channel, into)

        yield pushed


def test_per_call_every_instance_is_fresh(counter):
    counted = counter("policy: per-call")
    assert [counted.count() for _ in range(3)] == [(1, "fresh")] * 3


def test_pooled_instances_are_reused_after_success(counter):
    counted = counter("policy: pooled, warm: 1")
    assert [counted.count() for _ in range(3)] == [(1, "fresh"), (2, "warm"), (3, "warm")]


def test_pooled_instances_never_survive_a_trap(counter):
    counted = counter("policy: pooled, warm: 1")
    counted.count()
    assert counted.count() == (2, "warm")
    error = counted.trap()
    assert (error.code, error.reason) == (grpc.StatusCode.ABORTED, "GUEST_TRAP")
    assert counted.count() == (1, "fresh")


def test_pooled_instances_are_retired(counter):
    counted = counter("policy: pooled, warm: 1, max_uses: 2")
    assert [counted.count()[0] for _ in range(5)] == [1, 2, 1, 2, 1]


def test_pooled_instances_are_not_shared_between_namespaces(counter, namespace):
    ours = counter("policy: pooled, warm: 1")
    theirs = counter("policy: pooled, warm: 1", into=f"{namespace}-other")
    assert ours.count() == (1, "fresh")
    assert theirs.count() == (1, "fresh")
    assert ours.count() == (2, "warm")


def test_fuel_is_a_calls_own_when_instances_are_reused(host, namespace, tmp_path):
    """Each call would fit once into the fuel; together they would not."""
    spec = tmp_path / "spec.yaml"
    spec.write_text("limits: {fuel_per_call: 10000000}\ninstances: {policy: pooled, warm: 1}")
    cli = Cli(host, namespace)
    cli.push(module("hostile-spin"), "--name", "spin", "--spec", spec)
    with host.channel() as channel:
        call = channel.unary_unary("/hostile.spin.spin.v0_1.Spin/Rounds")
        spent = []
        for _ in range(5):
            _, done = call.with_call(varints(300_000), metadata=namespaced(namespace))
            spent.append(int(dict(done.trailing_metadata())["roadstead-fuel-consumed"]))
        assert min(spent) > 300_000
        error = failure(lambda: call(varints(100_000_000), metadata=namespaced(namespace)))
        assert error.reason == "FUEL_EXHAUSTED"
        call(varints(300_000), metadata=namespaced(namespace))
