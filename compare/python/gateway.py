"""The example gateway of tower-bearer, whose path is the argument, and a client of aiohttp that has no token."""

import os
import subprocess
import sys

import aiohttp
from drive import BASE, CLIENT, SECRET, TOKEN_URL, async_chunks, tasks

gateway = subprocess.Popen(
    [sys.argv[1], "--upstream", BASE, "--token-url", TOKEN_URL, "--client-id", CLIENT],
    env=os.environ | {"BEARER_CLIENT_SECRET": SECRET},
    stdout=subprocess.PIPE,
    text=True,
)
url = gateway.stdout.readline().removeprefix("listening on ").strip() + "/api"


async def setup():
    session = aiohttp.ClientSession()

    async def send():
        async with session.get(url) as response:
            await response.read()
            return response.status

    async def upload():
        async with session.post(url, data=async_chunks()) as response:
            await response.read()
            return response.status

    return send, upload


tasks(setup)
