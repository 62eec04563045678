"""Calls of one method by grpcio from Python: the same loop as the one around Ray's actors.

Each line of input asks for one measurement and is answered by one line: see `worker.rs`.
"""

import json
import sys
import time

import grpc

METHOD = "/bench.work.transfer.v0_1.Transfer/BytesEcho"
UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


def varint(number):
    digits = bytearray()
    while number > 0x7F:
        digits.append(number & 0x7F | 0x80)
        number >>= 7
    digits.append(number)
    return bytes(digits)


def measure(echo, message, metadata, in_flight, seconds):
    """Latencies of batches, each of so many calls in flight."""
    batches, began = [], time.perf_counter()
    while not batches or time.perf_counter() - began < seconds:
        sent = time.perf_counter()
        if in_flight == 1:
            assert echo(message, metadata=metadata) == message
        else:
            calls = [echo.future(message, metadata=metadata) for _ in range(in_flight)]
            answers = [call.result() for call in calls]
            assert answers[-1] == message
        batches.append(time.perf_counter() - sent)
    return batches, time.perf_counter() - began


channels = {}
for line in sys.stdin:
    asked = json.loads(line)
    address, module = asked["target"].split(" ")
    if address not in channels:
        channels[address] = grpc.insecure_channel(address, options=UNLIMITED)
    echo = channels[address].unary_unary(METHOD)
    metadata = [("roadstead-module", module)] if module else None
    message = b"\x0a" + varint(asked["bytes"]) + b"\x5a" * asked["bytes"]
    measure(echo, message, metadata, asked["in_flight"], asked["warm_up"])
    batches, took = measure(echo, message, metadata, asked["in_flight"], asked["seconds"])
    answer = {"calls": len(batches) * asked["in_flight"], "seconds": took, "latencies": batches}
    print(json.dumps(answer), flush=True)
