#!/usr/bin/env python3
"""Connects who is in another network with an address of the network that this runs in.

    relay.py FD HOST PORT

Each connection at the listening socket, which came from the other network, becomes one to the
address, both ways, until either side ends it.
"""

import asyncio
import contextlib
import socket
import sys

CHUNK = 1 << 16


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while some := await reader.read(CHUNK):
            writer.write(some)
            await writer.drain()
    writer.close()


async def main(listener: socket.socket, host: str, port: int) -> None:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            further = await asyncio.open_connection(host, port)
        except OSError:
            writer.close()
            return
        await asyncio.gather(copy(reader, further[1]), copy(further[0], writer))

    server = await asyncio.start_server(connected, sock=listener)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(socket.socket(fileno=int(sys.argv[1])), sys.argv[2], int(sys.argv[3])))
