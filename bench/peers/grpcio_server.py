"""The measured functions as a Python server: generated stubs, a pool of ten threads, as is usual.

The argument is a directory with `transfer.proto`, into which the stubs are generated.
"""

import sys
from concurrent import futures

import grpc
from grpc_tools import protoc

directory = sys.argv[1]
arguments = ["protoc", f"-I{directory}", f"--python_out={directory}", f"--grpc_python_out={directory}"]
assert protoc.main([*arguments, f"{directory}/transfer.proto"]) == 0
sys.path.insert(0, directory)

import transfer_pb2 as messages  # noqa: E402
import transfer_pb2_grpc as services  # noqa: E402

TEXT = "sixteen bytes ok"
VALUE = 20.25
BYTE = b"\x5a"
UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


class Transfer(services.TransferServicer):
    def BytesIn(self, request, context):
        return messages.BytesInResponse(value=len(request.items))

    def BytesOut(self, request, context):
        return messages.BytesOutResponse(value=BYTE * request.count)

    def BytesEcho(self, request, context):
        return messages.BytesEchoResponse(value=request.items)

    def FloatsIn(self, request, context):
        return messages.FloatsInResponse(value=len(request.items))

    def FloatsOut(self, request, context):
        return messages.FloatsOutResponse(value=[VALUE] * request.count)

    def FloatsEcho(self, request, context):
        return messages.FloatsEchoResponse(value=request.items)

    def StringsIn(self, request, context):
        return messages.StringsInResponse(value=len(request.items))

    def StringsOut(self, request, context):
        return messages.StringsOutResponse(value=[TEXT] * request.count)

    def StringsEcho(self, request, context):
        return messages.StringsEchoResponse(value=request.items)

    def RecordsIn(self, request, context):
        return messages.RecordsInResponse(value=len(request.items))

    def RecordsOut(self, request, context):
        sensors = range(1, request.count + 1)
        readings = (messages.Reading(sensor=at, name=TEXT, value=VALUE, valid=True) for at in sensors)
        return messages.RecordsOutResponse(value=readings)

    def RecordsEcho(self, request, context):
        return messages.RecordsEchoResponse(value=request.items)


server = grpc.server(futures.ThreadPoolExecutor(max_workers=10), options=UNLIMITED)
services.add_TransferServicer_to_server(Transfer(), server)
port = server.add_insecure_port("127.0.0.1:0")
server.start()
print(f"listening on 127.0.0.1:{port}", flush=True)
server.wait_for_termination()
