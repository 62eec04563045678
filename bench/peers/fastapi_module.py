"""The functions of modules/linalg behind one gRPC method for all: JSON in a message, ten threads."""

import json
from concurrent import futures

import grpc
import numpy as np
from google.protobuf.wrappers_pb2 import StringValue

UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


def describe(values):
    numbers = np.asarray(values, np.float64)
    return {
        "count": numbers.size,
        "mean": float(numbers.mean()),
        "deviation": float(numbers.std()),
        "least": float(numbers.min()),
        "most": float(numbers.max()),
    }


def scale(values, factor):
    return (np.asarray(values, np.float32) * np.float32(factor)).tolist()


FUNCTIONS = {"describe": describe, "scale": scale}


def execute(request, context):
    call = json.loads(request.value)
    return StringValue(value=json.dumps(FUNCTIONS[call["method"]](*call["args"])))


handler = grpc.unary_unary_rpc_method_handler(
    execute, StringValue.FromString, StringValue.SerializeToString
)
server = grpc.server(futures.ThreadPoolExecutor(max_workers=10), options=UNLIMITED)
service = grpc.method_handlers_generic_handler("bench.Module", {"Execute": handler})
server.add_generic_rpc_handlers((service,))
port = server.add_insecure_port("127.0.0.1:0")
server.start()
print(f"listening on 127.0.0.1:{port}", flush=True)
server.wait_for_termination()
