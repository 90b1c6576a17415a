#!/usr/bin/env python3
"""A relay that delays bytes, as a network does, and not each request, as a slow server does.

Usage: relay.py PORT SECONDS

Prints the port on which it listens, then relays to PORT of this machine. Each byte arrives SECONDS
later in either direction, in any number at once, so that a client that asks ahead (pipelining) does
not wait for each answer. A connection takes a round trip, too.
"""

import asyncio
import sys


async def carry(reader, writer, delay):
    """Pass on what comes, each part at its own time."""
    loop = asyncio.get_running_loop()
    parts = asyncio.Queue()

    async def deliver():
        while True:
            moment, data = await parts.get()
            wait = moment - loop.time()
            if wait > 0:
                await asyncio.sleep(wait)
            if not data:
                break
            writer.write(data)
            await writer.drain()
        writer.close()

    task = asyncio.create_task(deliver())
    data = b"x"
    while data:
        try:
            data = await reader.read(2**20)
        except ConnectionError:
            data = b""
        parts.put_nowait((loop.time() + delay, data))
    try:
        await task
    except ConnectionError:
        writer.close()


async def relay(port, delay):
    async def client(reader, writer):
        # SYN and its answer.
        await asyncio.sleep(2 * delay)
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port, limit=2**22)
        await asyncio.gather(
            carry(reader, far_writer, delay), carry(far_reader, writer, delay)
        )  # fmt: skip

    server = await asyncio.start_server(client, "127.0.0.1", 0, limit=2**22)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(relay(int(sys.argv[1]), float(sys.argv[2])))
