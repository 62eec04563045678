#!/usr/bin/env python3
"""Connects who is in another network with an address of the network that this runs in.

    relay.py SOCKET HOST PORT

Each connection at the Unix socket becomes one to the address, both ways, until either side ends it.
"""

import asyncio
import contextlib
import sys

CHUNK = 1 << 16


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while some := await reader.read(CHUNK):
            writer.write(some)
            await writer.drain()
    writer.close()


async def main(socket: str, host: str, port: int) -> None:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            further = await asyncio.open_connection(host, port)
        except OSError:
            writer.close()
            return
        await asyncio.gather(copy(reader, further[1]), copy(further[0], writer))

    server = await asyncio.start_unix_server(connected, socket)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
