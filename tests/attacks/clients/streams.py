"""Clients of streaming methods that do not read, do not end, or come by the thousand."""

import collections
import contextlib
import time

import grpc
from harness import PATIENCE, module, namespaced, until, varints
from measure import MIB, Held
from stage import NAMESPACE, admin, said
from wire import DATA, END_STREAM, HEADERS, Closed, Wire, frame, grpc_message

STREAMS = "/hostile.streams.streams.v0_1.Streams"
# What the host may take for all streams of an attack: each has a pipe of 256 KiB either way, an
# instance, and what HTTP/2 buffers.
ALLOWED = 512 * MIB


class Served:
    """The module of every shape, for the length of a `with`."""

    def __init__(self, stage, name, spec=""):
        self.stage, self.name, self.spec = stage, name, spec

    def __enter__(self):
        self.stage.push(self.name, module("hostile-streams").read_bytes(), self.spec)
        self.before = Held.of(self.stage.host.process.pid)
        return self

    def __exit__(self, *exception):
        self.stage.delete(self.name)

    @property
    def metadata(self):
        return namespaced(NAMESPACE, ("roadstead-module", self.name))

    def usage(self):
        messages, services = admin()
        service = services.ModuleServiceStub(self.stage.channel)
        metadata = namespaced(NAMESPACE)
        listed = service.ListUsage(messages.ListUsageRequest(), metadata=metadata, timeout=PATIENCE)
        return next(one for one in listed.modules if one.name == self.name)

    def rests(self):
        """Waits until its guests take no more processor time."""

        def rests():
            before = self.usage().cpu.total_us
            time.sleep(0.5)
            return before == self.usage().cpu.total_us

        until(rests, "the guests are held")

    def gone(self):
        until(lambda: (self.usage().streams, self.usage().running) == (0, 0), "the streams end")

    def bounded(self, allowed=ALLOWED):
        grown = Held.of(self.stage.host.process.pid).memory - self.before.memory
        return grown < allowed or f"{grown // MIB} MiB"


def item(payload, number=2):
    return bytes([number << 3 | 2, len(payload)]) + payload


def endless_and_unread(stage):
    """Asks for 60 streams without end, and reads none of them."""
    with Served(stage, "endless") as served:
        with Wire(stage.address) as wire:
            for stream in range(1, 121, 2):
                extra = [("roadstead-module", served.name)]
                wire.call(stream, f"{STREAMS}/Count", varints(0, 1000), extra)
            verdict = wire.verdict(2)
            served.rests()
            running, bounded = served.usage().running, served.bounded()
        served.gone()
    if (verdict, running, bounded) != ("held", 60, True):
        return f"{verdict}, {running} running, {bounded}"
    return "their guests are held"


def thousands_of_open_streams(stage):
    """Opens 3,000 streams that say nothing, on thirty connections."""
    spec = "quota: {concurrency: 40, queue: 100}\nlimits: {memory: 16Mi}"
    outcomes = collections.Counter()
    with Served(stage, "thousands", spec) as served, contextlib.ExitStack() as open_:
        calls = []
        for _ in range(30):
            channel = open_.enter_context(stage.host.channel())
            opening = channel.unary_stream(f"{STREAMS}/Silent")
            calls += [opening(b"", metadata=served.metadata) for _ in range(100)]
        until(lambda: sum(not call.is_active() for call in calls) == 3000 - 140, "the rest is refused")
        usage, bounded = served.usage(), served.bounded()
        for call in calls:
            if not call.is_active():
                outcomes[outcome(call)] += 1
            call.cancel()
        served.gone()
    if outcomes != {"RESOURCE_EXHAUSTED OVERLOADED": 2860} or bounded is not True:
        return f"{dict(outcomes)}, {bounded}"
    return f"{usage.running} run and {usage.queued} wait"


def outcome(call):
    try:
        for _ in call:
            pass
    except grpc.RpcError as error:
        return str(said(error))
    return "served"


def never_resolves(stage):
    """Waits for 100 futures that never resolve."""
    with Served(stage, "never", "limits: {deadline: 2s, memory: 16Mi}") as served:
        call = stage.channel.unary_unary(f"{STREAMS}/Never")
        futures = [call.future(b"", metadata=served.metadata, timeout=60) for _ in range(100)]
        outcomes = {str(said(future.exception())) for future in futures}
        served.gone()
    return ", ".join(sorted(outcomes))


def one_byte_at_a_time(stage):
    """Sends 20,000 chunks of one byte, and asks for as many."""
    count = 20_000
    with Served(stage, "bytes") as served:
        chunks = (item(b"\1") for _ in range(count))
        sending = stage.channel.stream_unary(f"{STREAMS}/Measure")
        measured = sending(chunks, metadata=served.metadata)
        asking = stage.channel.unary_stream(f"{STREAMS}/Bytes")
        got = sum(1 for _ in asking(varints(count, 1), metadata=served.metadata))
        bounded = served.bounded(128 * MIB)
    if measured != item(varints(count, count), 1) or got != count or bounded is not True:
        return f"{measured.hex()}, {got}, {bounded}"
    return "all of them"


def frames_of_one_byte(stage):
    """Sends 2,000 messages so that each byte has a frame of its own. Where the guest does not keep
    up, the host closes the connection for its tiny frames."""
    with Served(stage, "drip") as served, Wire(stage.address) as wire:
        wire.open(1, f"{STREAMS}/Sum", [("roadstead-module", served.name)])
        try:
            return summed_up(wire, grpc_message(b"\x10\x01"))
        except Closed:
            return "closed"


def summed_up(wire, message):
    wire.send(frame(DATA, 0, 1, grpc_message(item(b"", 1))))
    for _ in range(2000):
        wire.send(b"".join(frame(DATA, 0, 1, bytes([byte])) for byte in message))
    wire.send(frame(DATA, END_STREAM, 1))
    for kind, flags, _, payload in wire.frames(10):
        if kind == DATA and payload:
            return "summed up" if payload[5:] == b"\x08\xd0\x0f" else payload.hex()
        if kind == HEADERS and flags & END_STREAM:
            return str(dict(wire.decoder.decode(payload)).get("grpc-message"))
    return "nothing"


def never_half_closed(stage):
    """Opens 100 streams, sends a little on each and nothing more."""
    spec = "limits: {stream_idle: 2s, memory: 16Mi}\nquota: {concurrency: 100}"
    with Served(stage, "open-end", spec) as served:
        with contextlib.ExitStack() as open_:
            wires = [open_.enter_context(Wire(stage.address)) for _ in range(2)]
            for wire in wires:
                for stream in range(1, 101, 2):
                    wire.open(stream, f"{STREAMS}/Sum", [("roadstead-module", served.name)])
                    started = grpc_message(item(b"", 1)) + grpc_message(b"\x10\x01")
                    wire.send(frame(DATA, 0, stream, started))
            ends = collections.Counter(end for wire in wires for end in ended(wire, 50))
            running = served.usage().running
        served.gone()
    return f"{dict(ends)}, {running} running" if ends != {"4": 100} or running else "ended as idle"


def ended(wire, count):
    """The statuses of so many streams."""
    for kind, flags, _, payload in wire.frames(20):
        if kind != HEADERS:
            continue
        headers = dict(wire.decoder.decode(payload))
        if flags & END_STREAM:
            yield headers.get("grpc-status")
            count -= 1
        if not count:
            return


def streams_of_others(stage):
    """Follows a counter by its handle in another namespace, and by one that is broken."""
    follow = stage.channel.unary_stream(f"{STREAMS}Counter/Follow")
    with Served(stage, "mine") as mine:
        handle = stage.call("mine", f"{STREAMS}Counter/Create", b"\x08\x05")
        three = handle + b"\x10\x03"
        elsewhere = "attacks-elsewhere"
        stage.push("mine", module("hostile-streams").read_bytes(), namespace=elsewhere)
        outcomes = {
            outcome(follow(three, metadata=namespaced(elsewhere))),
            outcome(follow(three[:-20] + bytes(18) + three[-2:], metadata=mine.metadata)),
        }
        stage.delete("mine", elsewhere)
        own = list(follow(three, metadata=mine.metadata))
    if own != [b"\x08\x05", b"\x08\x06", b"\x08\x07"]:
        return f"its own: {own}"
    return ", ".join(sorted(outcomes))
