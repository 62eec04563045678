"""Clients that send messages which are too large, not what they say, or nothing at all."""

import gzip
import http.client
import itertools
import json
import os
import random
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import forge
import grpc
from errors import Details
from grpc_health.v1 import health_pb2, health_pb2_grpc
from harness import namespaced
from neighbours import CALLS
from stage import NAMESPACE, method_path
from wire import DATA, END_STREAM, Closed, Wire, frame, grpc_message

SUMMARIZE, TEXT, _ = CALLS[0]
REFLECTION = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"


def raw(stage, message, extra=()):
    """One call whose bytes are given."""
    with Wire(stage.address) as wire:
        wire.open(1, SUMMARIZE, extra)
        try:
            wire.send(
                b"".join(
                    frame(DATA, 0, 1, message[at : at + 16_384])
                    for at in range(0, len(message), 16_384)
                )
                + frame(DATA, END_STREAM, 1)
            )
        except (Closed, TimeoutError):
            pass
        return wire.verdict()


def announced_4_gib(stage):
    return raw(stage, grpc_message(b"x", announced=0xFFFFFFFF))


def shorter_than_announced(stage):
    return raw(stage, grpc_message(b"x" * 100, announced=200))


def gzip_bomb(stage):
    """As much as fits the first window of a connection."""
    packed = gzip.compress(bytes(50 << 20))
    return raw(stage, grpc_message(packed, flag=1), [("grpc-encoding", "gzip")])


def not_gzip(stage):
    return raw(stage, grpc_message(os.urandom(1000), flag=1), [("grpc-encoding", "gzip")])


def flag_of_255(stage):
    return raw(stage, grpc_message(b"", flag=255))


def protobuf_soup(stage):
    """Random bytes as messages: refused, or read as a request by chance; nothing else."""
    chance = random.Random(7)
    call = stage.channel.unary_unary(SUMMARIZE)
    wrong = set()
    for _ in range(400):
        try:
            call(chance.randbytes(chance.randrange(1, 60)), metadata=namespaced(NAMESPACE))
        except grpc.RpcError as error:
            if Details(error).reason != "BAD_INPUT":
                wrong.add(repr(Details(error)))
    return f"got {sorted(wrong)}" if wrong else "refused or served"


def deep_protobuf(stage):
    """Groups within groups, a hundred thousand deep."""
    call = stage.channel.unary_unary(SUMMARIZE)
    return code(lambda: call(b"\x13" * 100_000, metadata=namespaced(NAMESPACE)))


def code(call):
    try:
        call()
    except grpc.RpcError as error:
        details = Details(error)
        return f"{details.code.name} {details.reason or ''}".strip()
    return "served"


def post(stage, body, content_type="application/json", path=SUMMARIZE, headers=()):
    """The status of an HTTP/1.1 request, or `closed`."""
    name, port = stage.address
    connection = http.client.HTTPConnection(name, port, timeout=30)
    try:
        heads = {"content-type": content_type, "roadstead-namespace": NAMESPACE, **dict(headers)}
        connection.request("POST", path, body, heads)
        return str(connection.getresponse().status)
    except (OSError, http.client.HTTPException):
        return "closed"
    finally:
        connection.close()


def giant_json(stage):
    return post(stage, json.dumps({"text": "x" * (64 << 20)}))


def deep_json(stage):
    return post(stage, '{"text":' + "[" * 1_000_000)


def json_of_many_fields(stage):
    """A hundred thousand fields that nobody knows."""
    return post(stage, json.dumps({f"field{n}": n for n in range(100_000)}))


def gzip_json_bomb(stage):
    body = gzip.compress(bytes(512 << 20), compresslevel=1)
    return post(stage, body, headers={"content-encoding": "gzip"}.items())


def gzip_past_the_share(stage):
    """What the module's own limit would take, and no connection may hold."""
    stage.push("unbounded", forge.of_core(), "limits: {input: 100Gi}")
    body = gzip.compress(bytes(64 << 20)) * 16
    path, packed = method_path("unbounded", "Go"), {"content-encoding": "gzip"}
    return post(stage, body, "application/proto", path, packed.items())


def wrong_content_types(stage):
    """Everything but what is served; each is refused by a status of HTTP."""
    kinds = ["text/html", "application/xml", "multipart/form-data; boundary=x", "application/grpc-web",
             "a" * 5000, "application/json; charset=utf-16"]  # fmt: skip
    statuses = {post(stage, TEXT, kind) for kind in kinds}
    return "refused" if statuses <= {"400", "404", "415", "431", "closed"} else f"got {statuses}"


def http1_odd_requests(stage):
    """Requests that proxies and servers read differently."""
    odd = [
        b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nabcde",
        b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFF\r\n",
        b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 50_000 + b"\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(400),
        b"\0" * 1000,
    ]
    ends = set()
    for request in odd:
        with socket.create_connection(stage.address, timeout=5) as connection:
            try:
                connection.sendall(request)
                answer = connection.recv(100)
            except OSError:
                answer = b""
            ends.add(int(answer[9:12]) // 100 if answer.startswith(b"HTTP/1.1 ") else 0)
    return "refused" if ends <= {0, 4} else f"got {sorted(ends)}"


def timeouts_beyond_reason(stage):
    """What `grpc-timeout` must not say is refused or counts as none; none of it hangs."""
    ends = set()
    for text in ("0n", "-1S", "99999999H", "999999999999999999999S", "1", "S", "1S1S", "１S"):
        with Wire(stage.address) as wire:
            wire.call(1, SUMMARIZE, TEXT, [("grpc-timeout", text)])
            ends.add(wire.verdict())
    # Served, or refused as malformed or as over.
    served = {f"status {status}" for status in (0, 3, 4, 13, 400)}
    return "answered" if ends <= served else f"got {sorted(ends)}"


def cancelled_calls(stage):
    """2,000 calls of an endless loop whose callers go away at once."""
    with stage.published("cancelled", "loops", "limits: {fuel_per_call: 1000000000000}") as name:
        path = f"/roadstead.module.{name}.v0_1.Module/InExport"
        call = stage.channel.unary_unary(path)
        for _ in range(40):
            calls = [call.future(b"", metadata=namespaced(NAMESPACE)) for _ in range(50)]
            time.sleep(0.005)
            for one in calls:
                one.cancel()
        # With all of them gone there is a place at once.
        return stage.outcome(name, "InTableFill", timeout=1).split()[0]


def unknown_methods(stage):
    """10,000 calls of methods that nobody serves."""
    codes = set()
    paths = itertools.cycle([f"/no.such.Service{n}/Method" for n in range(50)])
    for _ in range(50):
        calls = [
            stage.channel.unary_unary(next(paths)).future(b"", metadata=namespaced(NAMESPACE))
            for _ in range(200)
        ]
        codes |= {call.code().name for call in calls}
    return ", ".join(sorted(codes))


def reflection_flood(stage):
    """One stream of 10,000 requests for all there is to know."""
    call = stage.channel.stream_stream(REFLECTION)
    symbol = b"demo.text_stats.analyze.v0_1.Analyze"
    questions = (b"\x3a\x00", b"\x22" + bytes([len(symbol)]) + symbol)
    asked = (questions[n % 2] for n in range(10_000))
    try:
        return f"{sum(1 for _ in call(asked, metadata=namespaced(NAMESPACE), timeout=60))} answers"
    except grpc.RpcError as error:
        return error.code().name


def health_watchers(stage):
    """500 watches on one connection, and 200 more connections with some each."""
    watched = []
    try:
        for _ in range(20):
            channel = stage.host.channel()
            health = health_pb2_grpc.HealthStub(channel)
            watches = [health.Watch(health_pb2.HealthCheckRequest()) for _ in range(50)]
            watched.append((channel, watches))
        first = {next(watch).status for _, watches in watched for watch in watches}
        return "watching" if first == {health_pb2.HealthCheckResponse.SERVING} else f"got {first}"
    except grpc.RpcError as error:
        return error.code().name
    finally:
        for channel, _ in watched:
            channel.close()


def connection_storm(stage):
    """3,000 connections that come and go, each with a call."""
    def one(_):
        try:
            with Wire(stage.address) as wire:
                wire.call(1, "/grpc.health.v1.Health/Check")
                return wire.verdict(10)
        except (OSError, Closed):
            return "closed"

    with ThreadPoolExecutor(16) as pool:
        ends = list(pool.map(one, range(3_000)))
    answered = sum(end == "status 0" for end in ends)
    return "all answered" if answered == len(ends) else f"{len(ends) - answered} were not answered"


def slowloris(stage):
    """300 requests over HTTP/1.1 whose headers come a byte at a time."""
    return trickled(stage, b"POST " + SUMMARIZE.encode() + b" HTTP/1.1\r\nhost: localhost\r\nx-slow: ")


def slow_body(stage):
    """300 requests whose body is announced and comes a byte at a time."""
    head = f"POST {SUMMARIZE} HTTP/1.1\r\nhost: localhost\r\nroadstead-namespace: {NAMESPACE}\r\n"
    head += "content-type: application/json\r\n"
    return trickled(stage, f"{head}content-length: 100000\r\n\r\n".encode())


def trickled(stage, head, connections=300, seconds=2):
    held = [socket.create_connection(stage.address, timeout=10) for _ in range(connections)]
    try:
        for one in held:
            one.sendall(head)
        over = time.monotonic() + seconds
        while time.monotonic() < over:
            for one in held:
                try:
                    one.sendall(b"a")
                except OSError:
                    return "others: cut off"
            time.sleep(0.2)
        with Wire(stage.address) as wire:
            wire.call(1, "/grpc.health.v1.Health/Check")
            return f"others: {wire.verdict()}"
    finally:
        for one in held:
            one.close()


def flood_at_the_door(stage):
    """A hundred times what a module may have at once: refused early, with when to come again."""
    spec = "quota: {concurrency: 2, queue: 4}\nlimits: {deadline: 1s, fuel_per_call: 1000000000000}"
    with stage.published("flooded", "loops", spec) as name:
        counted, lock = {}, threading.Lock()

        def one(_):
            outcome = stage.outcome(name, "InExport")
            with lock:
                counted[outcome] = counted.get(outcome, 0) + 1

        with ThreadPoolExecutor(64) as pool:
            list(pool.map(one, range(600)))
    wrong = set(counted) - {"RESOURCE_EXHAUSTED OVERLOADED", "DEADLINE_EXCEEDED DEADLINE"}
    refused = counted.get("RESOURCE_EXHAUSTED OVERLOADED", 0)
    return f"got {sorted(wrong)}" if wrong else ("refused" if refused > 500 else f"{refused} refused")


def rebound_name(stage):
    """A web page whose name was made to point at this host."""
    return post(stage, "{}", headers={"host": "attacker.example"}.items())
