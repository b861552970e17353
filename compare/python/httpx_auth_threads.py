"""httpx-auth's OAuth2ClientCredentials on one Client, which all threads use."""

import httpx
from drive import API_URL, CLIENT, SECRET, TOKEN_URL, chunks, threads
from httpx_auth import OAuth2ClientCredentials

client = httpx.Client(auth=OAuth2ClientCredentials(TOKEN_URL, client_id=CLIENT, client_secret=SECRET))
threads(
    lambda: client.get(API_URL).status_code,
    lambda: client.post(API_URL, content=chunks()).status_code,
)
