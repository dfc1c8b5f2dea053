"""An echo server of asyncio, and a client with fifty streams at once.

asyncio_echo.py server PORT
asyncio_echo.py client HOST PORT
"""

import asyncio
import random
import sys

STREAMS, LENGTH = 50, 300_000


async def serve(port):
    heard = {}

    async def echo(reader, writer):
        peer = writer.get_extra_info("peername")[0]
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()
        await writer.wait_closed()
        heard[peer] = heard.get(peer, 0) + 1
        print(f"{heard[peer]} streams from {peer}", flush=True)

    server = await asyncio.start_server(echo, "0.0.0.0", port)
    print("listening", flush=True)
    await server.serve_forever()


async def stream(host, port, seed):
    reader, writer = await asyncio.open_connection(host, port)
    data = random.Random(seed).randbytes(LENGTH)

    async def send():
        for at in range(0, LENGTH, 7000):
            writer.write(data[at : at + 7000])
            await writer.drain()
        writer.write_eof()

    _, back = await asyncio.gather(send(), reader.read())
    writer.close()
    await writer.wait_closed()
    return back == data


async def fetch(host, port):
    equal = await asyncio.gather(*(stream(host, port, seed) for seed in range(STREAMS)))
    print(f"{sum(equal)} streams of {LENGTH} bytes came back")


if sys.argv[1] == "server":
    asyncio.run(serve(int(sys.argv[2])))
else:
    asyncio.run(fetch(sys.argv[2], int(sys.argv[3])))
