"""Does what the runner says on standard input, by a function that sends one request: `at-once N`, `in-turn N`,
`paced N RATE`, `upload`. Prints the answer of each request on a line: its status, or `error`."""

import asyncio
import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

BASE, SECRET = os.environ["COMPARE_URL"], os.environ["COMPARE_SECRET"]
CLIENT, REFRESH_TOKEN = "compare-client", "compare-refresh"
TOKEN_URL, API_URL = BASE + "/token", BASE + "/api"
CHUNKS, CHUNK, CHUNK_SECONDS = 100, b"x" * 10_000, 0.002

printing = threading.Lock()


def chunks():
    for _ in range(CHUNKS):
        yield CHUNK
        time.sleep(CHUNK_SECONDS)


async def async_chunks():
    for _ in range(CHUNKS):
        yield CHUNK
        await asyncio.sleep(CHUNK_SECONDS)


def report(answer):
    with printing:
        print(answer, flush=True)


def failed(error):
    print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
    return "error"


def commands():
    report("ready")
    for line in sys.stdin:
        name, *numbers = line.split()
        yield name, [int(number) for number in numbers]


def threads(send, upload):
    """Drives functions that block, in 50 threads."""

    def one(function):
        try:
            report(function())
        except Exception as error:
            report(failed(error))

    with ThreadPoolExecutor(50) as pool:
        for name, numbers in commands():
            match name, numbers:
                case "at-once", [count]:
                    list(pool.map(lambda _: one(send), range(count)))
                case "in-turn", [count]:
                    for _ in range(count):
                        one(send)
                case "paced", [count, rate]:
                    start = time.monotonic()
                    for turn in range(count):
                        time.sleep(max(0, start + turn / rate - time.monotonic()))
                        pool.submit(one, send)
                case "upload", []:
                    one(upload)


def tasks(setup):
    """Drives coroutines, which `setup` makes in the event loop."""

    async def run():
        send, upload = await setup()
        loop = asyncio.get_running_loop()

        async def one(function):
            try:
                report(await function())
            except Exception as error:
                report(failed(error))

        lines = commands()
        while command := await loop.run_in_executor(None, next, lines, None):
            match command:
                case "at-once", [count]:
                    await asyncio.gather(*(one(send) for _ in range(count)))
                case "in-turn", [count]:
                    for _ in range(count):
                        await one(send)
                case "paced", [count, rate]:
                    start, running = time.monotonic(), set()
                    for turn in range(count):
                        await asyncio.sleep(max(0, start + turn / rate - time.monotonic()))
                        task = asyncio.create_task(one(send))
                        running.add(task)
                        task.add_done_callback(running.discard)
                    await asyncio.gather(*running)
                case "upload", []:
                    await one(upload)

    asyncio.run(run())
