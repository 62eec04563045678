"""Clients that want more sessions and handles than there are, and those of others."""

import contextlib
import os
import random

import grpc
from harness import module
from stage import said

SERIES = "/demo.running_stats.stats.v0_1.StatsSeries"
SPEC = "instances: {sessions: 8}\nlimits: {handles: 100, session_idle: 1h}"


@contextlib.contextmanager
def served(stage, name, spec=SPEC):
    """The module with a resource, for the length of a `with`, and a way to call its methods.

    A response with a handle in `value` is at the same time a request with that handle in `self`.
    """
    stage.push(name, module("running-stats").read_bytes(), spec)
    try:
        yield lambda method, request=b"": stage.call(name, f"{SERIES}/{method}", request)
    finally:
        stage.delete(name)


def field(payload, number=1):
    length = len(payload)
    head = [length] if length < 0x80 else [length & 0x7F | 0x80, length >> 7]
    return bytes([number << 3 | 2, *head]) + payload


def inner(message):
    """The only field of a message."""
    return message[3:] if message[1] >= 0x80 else message[2:]


def refused(call, *args):
    try:
        call(*args)
    except grpc.RpcError as error:
        return str(said(error))
    return "served"


def session_flood(stage):
    """Opens sessions until there are no more, and again once they ended."""
    with served(stage, "session-flood") as call:
        for _ in range(3):
            opened = []
            while len(opened) < 1000:
                try:
                    opened.append(call("Create"))
                except grpc.RpcError as error:
                    last = said(error)
                    break
            for handle in opened:
                call("Drop", handle)
            if len(opened) != 8 or last != "RESOURCE_EXHAUSTED OVERLOADED":
                return f"{len(opened)} sessions, then {last}"
        return "eight at a time"


def abandoned_sessions(stage):
    """Opens sessions, and leaves without dropping a handle: deleting the module ends them."""
    for _ in range(5):
        with served(stage, "session-left") as call:
            for _ in range(8):
                call("Create")
    return "gone with their module"


def handle_flood(stage):
    """Makes handles in one session until there are no more."""
    with served(stage, "handle-flood") as call:
        first, made = call("Create"), 1
        while made < 10_000:
            try:
                call("Beside", first)
                made += 1
            except grpc.RpcError as error:
                alive = refused(call, "Summary", first)
                return f"{said(error)} after {made}, then {alive}"
        return f"{made} handles"


def forged_handles(stage):
    """Uses ids that the host did not make, or made for something else."""
    with served(stage, "forged") as call:
        handle = call("Create")
        id = inner(inner(handle))
        chance = random.Random(7)
        wrong = [b"", os.urandom(16), os.urandom(96), bytes(len(id)), id + b"\0", id[:-1], id * 2]
        for _ in range(300):
            flipped = bytearray(id)
            flipped[chance.randrange(len(id))] ^= 1 << chance.randrange(8)
            wrong.append(bytes(flipped))
        outcomes = {refused(call, "Summary", field(field(one))) for one in wrong}
        outcomes.add(refused(call, "Drop", field(field(wrong[-1]))))
        if outcomes != {"NOT_FOUND NO_SUCH_HANDLE"}:
            return f"got {sorted(outcomes)}"
        return f"none leads anywhere, and the real one is {refused(call, 'Summary', handle)}"


def handles_given_away_twice(stage):
    """Drops handles again and again, and gives one away twice in a call."""
    with served(stage, "double-drop") as call:
        handle = call("Create")
        other = call("Beside", handle)
        outcomes = [refused(call, "Merge", handle + handle)]
        call("Drop", handle)
        outcomes += [refused(call, "Drop", handle) for _ in range(20)]
        outcomes.append(refused(call, "Merge", handle + other))
        if set(outcomes) != {"INVALID_ARGUMENT BAD_INPUT", "NOT_FOUND NO_SUCH_HANDLE"}:
            return f"got {sorted(set(outcomes))}"
        return f"refused, and the other is {refused(call, 'Summary', other)}"
