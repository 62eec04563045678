"""A front in FastAPI: takes `{module, method, args}` as JSON and, for each call, opens a channel to
the module's server. The handler is asynchronous and blocks, as such fronts do.

The argument is the address of the module's server.
"""

import json
import socket
import sys
from typing import Any

import grpc
import uvicorn
from fastapi import FastAPI
from google.protobuf.wrappers_pb2 import StringValue
from pydantic import BaseModel

MODULES = {"linalg": sys.argv[1]}
UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


class Call(BaseModel):
    module: str
    method: str
    args: list[Any]


app = FastAPI()


@app.post("/call")
async def answer(call: Call):
    with grpc.insecure_channel(MODULES[call.module], options=UNLIMITED) as channel:
        execute = channel.unary_unary(
            "/bench.Module/Execute", StringValue.SerializeToString, StringValue.FromString
        )
        message = json.dumps({"method": call.method, "args": call.args})
        return {"result": json.loads(execute(StringValue(value=message)).value)}


# The protocol is named: of sockets that do not, asyncio does not turn off the delay of small packets.
listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
listener.bind(("127.0.0.1", 0))
listener.listen(1024)
print(f"listening on 127.0.0.1:{listener.getsockname()[1]}", flush=True)
uvicorn.Server(uvicorn.Config(app, log_level="error", access_log=False)).run(sockets=[listener])
