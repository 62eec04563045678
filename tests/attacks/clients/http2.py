"""Clients that break HTTP/2, or keep to it and ask for too much."""

import contextlib
import os
import socket
import struct
import time

from neighbours import CALLS
from wire import (
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, INITIAL_WINDOW, PING, PREFACE,
    PRIORITY, RST_STREAM, SETTINGS, WINDOW, Closed, Wire, frame, grpc_message,
)  # fmt: skip

HEALTH = "/grpc.health.v1.Health/Check"
SUMMARIZE, TEXT, _ = CALLS[0]
CANCEL = struct.pack(">I", 8)


def flooded(stage, pieces, settings=()):
    """Sends pieces until the host ends the connection, or all are sent."""
    with Wire(stage.address, settings) as wire:
        try:
            for piece in pieces(wire):
                wire.send(piece)
        except Closed:
            return "closed"
        except TimeoutError:
            # The host reads no more of it before it has got rid of its answers.
            return "not read"
        return wire.verdict(2)


def rapid_reset(stage):
    """Opens streams and resets them at once: work for the host, no room taken."""

    def pieces(wire):
        for stream in range(1, 40_001, 2):
            yield frame(HEADERS, END_HEADERS, stream, wire.head(SUMMARIZE)) + frame(
                RST_STREAM, 0, stream, CANCEL
            )

    return flooded(stage, pieces)


def reset_after_the_call(stage):
    """The same with a whole request each time."""

    def pieces(wire):
        for stream in range(1, 10_001, 2):
            yield (
                frame(HEADERS, END_HEADERS, stream, wire.head(SUMMARIZE))
                + frame(DATA, END_STREAM, stream, grpc_message(TEXT))
                + frame(RST_STREAM, 0, stream, CANCEL)
            )

    return flooded(stage, pieces)


def made_to_reset(stage):
    """Provokes resets by the host: window updates of nothing on streams just opened."""

    def pieces(wire):
        for stream in range(1, 20_001, 2):
            yield frame(HEADERS, END_HEADERS, stream, wire.head(SUMMARIZE)) + frame(
                WINDOW, 0, stream, bytes(4)
            )

    return flooded(stage, pieces)


def ping_flood(stage):
    ping = frame(PING, 0, 0, bytes(8)) * 100
    return flooded(stage, lambda _: [ping] * 20_000)


def settings_flood(stage):
    settings = frame(SETTINGS, 0, 0, struct.pack(">HI", INITIAL_WINDOW, 65535)) * 100
    return flooded(stage, lambda _: [settings] * 20_000)


def priority_flood(stage):
    priority = frame(PRIORITY, 0, 1, struct.pack(">IB", 3, 1)) * 100
    return flooded(stage, lambda _: [priority] * 5_000)


def empty_data_flood(stage):
    """Frames of data without any, on a stream that never ends."""

    def pieces(wire):
        yield frame(HEADERS, END_HEADERS, 1, wire.head(SUMMARIZE))
        for _ in range(20_000):
            yield frame(DATA, 0, 1) * 100

    return flooded(stage, pieces)


def continuation_flood(stage):
    """A header block that never ends."""

    def pieces(wire):
        yield frame(HEADERS, 0, 1, wire.head(SUMMARIZE))
        for _ in range(5_000):
            yield frame(CONTINUATION, 0, 1, b"\x00\x04name\x7f\x80\x7e" + b"x" * 16_255)

    return flooded(stage, pieces)


def huge_headers(stage):
    """A megabyte of headers, all well-formed."""
    with Wire(stage.address) as wire:
        block = wire.head(HEALTH, [(f"x-{n}", "v" * 4000) for n in range(256)])
        kind, flags = HEADERS, END_STREAM
        try:
            while block:
                part, block = block[:16_384], block[16_384:]
                wire.send(frame(kind, flags | (0 if block else END_HEADERS), 1, part))
                kind, flags = CONTINUATION, 0
        except Closed:
            return "closed"
        return wire.verdict()


def header_bomb(stage):
    """One header of 4 KiB, named by a single byte sixty thousand times."""
    with Wire(stage.address) as wire:
        block = wire.head(HEALTH, [("bomb", "b" * 3900)])
        # The newest entry of the dynamic table is number 62.
        block += b"\xbe" * 12_000
        try:
            wire.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, block))
        except Closed:
            return "closed"
        return wire.verdict()


def thousands_of_streams(stage):
    """Calls that are begun and never ended, far more than one connection may have."""

    def pieces(wire):
        for stream in range(1, 10_001, 2):
            yield frame(HEADERS, END_HEADERS, stream, wire.head(SUMMARIZE))

    return flooded(stage, pieces)


def zero_window(stage):
    """Asks for answers and lets none of them come."""
    with Wire(stage.address, [(INITIAL_WINDOW, 0)]) as wire:
        for stream in range(1, 601, 2):
            wire.call(stream, SUMMARIZE, TEXT)
        return wire.verdict(2)


def window_overflow(stage):
    """Windows beyond what the protocol has."""
    with Wire(stage.address) as wire:
        wire.open(1, SUMMARIZE)
        wire.send(frame(WINDOW, 0, 1, struct.pack(">I", 0x7FFFFFFF)) * 2)
        return wire.verdict()


def frame_too_large(stage):
    with Wire(stage.address) as wire:
        wire.open(1, SUMMARIZE)
        try:
            wire.send(frame(DATA, 0, 1, bytes(1 << 20)))
        except Closed:
            return "closed"
        return wire.verdict()


def broken_compression(stage):
    """A header block that no encoder writes."""
    with Wire(stage.address) as wire:
        wire.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\xff" * 200))
        return wire.verdict()


def streams_backwards(stage):
    with Wire(stage.address) as wire:
        wire.open(9, HEALTH)
        wire.open(3, HEALTH)
        return wire.verdict()


def settings_that_are_answers(stage):
    """Answers to settings that the host never sent."""
    return flooded(stage, lambda _: [frame(SETTINGS, ACK, 0) * 100] * 100)


def random_frames(stage):
    """Bytes of chance after a good beginning, on 50 connections.

    One in a thousand begins with a frame that is longer than what came, which the host waits for.
    """
    ends = set()
    for _ in range(50):
        ends.add(flooded(stage, lambda _: [os.urandom(4096)]).split(" ")[0])
    return "closed" if ends <= {"closed", "GOAWAY", "RST_STREAM", "held"} else f"ended by {sorted(ends)}"


def half_a_preface(stage):
    """Connections that begin and say no more."""
    return held_open(stage, PREFACE[:10])


def silent_connections(stage):
    return held_open(stage, b"")


def held_open(stage, first):
    """500 connections that say as much, held while the host must answer others."""
    with contextlib.ExitStack() as held:
        for _ in range(500):
            one = held.enter_context(socket.create_connection(stage.address, timeout=10))
            one.sendall(first)
        time.sleep(1)
        with Wire(stage.address) as wire:
            wire.call(1, HEALTH)
            return f"others: {wire.verdict()}"
