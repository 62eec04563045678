"""Calls of one method by grpcio, one at a time: the same loop as the one around Ray's actor."""

import json
import sys
import time

import grpc

SECONDS = 5
MESSAGE = b"\x0a\x10sixteen bytes ok"

with grpc.insecure_channel(sys.argv[1]) as channel:
    echo = channel.unary_unary("/demo.echo.echo.v0_1.Echo/Bytes")
    for _ in range(200):
        echo(MESSAGE)
    calls, began = 0, time.perf_counter()
    while time.perf_counter() - began < SECONDS:
        assert echo(MESSAGE) == MESSAGE
        calls += 1
    elapsed = time.perf_counter() - began
print(json.dumps({"calls_per_second": calls / elapsed}))
