"""Authlib's AsyncOAuth2Client: it renews an expired token itself. The first one is asked for by the program."""

from authlib.integrations.httpx_client import AsyncOAuth2Client
from drive import API_URL, CHUNK, CHUNKS, CLIENT, SECRET, TOKEN_URL, tasks


async def setup():
    client = AsyncOAuth2Client(CLIENT, SECRET, token_endpoint=TOKEN_URL, grant_type="client_credentials")

    async def first():
        if not client.token:
            await client.fetch_token(TOKEN_URL)

    async def send():
        await first()
        return (await client.get(API_URL)).status_code

    async def upload():
        await first()
        return (await client.post(API_URL, content=CHUNK * CHUNKS)).status_code

    return send, upload


tasks(setup)
