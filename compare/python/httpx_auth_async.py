"""httpx-auth's OAuth2ClientCredentials on one AsyncClient."""

import httpx
from drive import API_URL, CLIENT, SECRET, TOKEN_URL, async_chunks, tasks
from httpx_auth import OAuth2ClientCredentials


async def setup():
    client = httpx.AsyncClient(auth=OAuth2ClientCredentials(TOKEN_URL, client_id=CLIENT, client_secret=SECRET))

    async def send():
        return (await client.get(API_URL)).status_code

    async def upload():
        return (await client.post(API_URL, content=async_chunks())).status_code

    return send, upload


tasks(setup)
