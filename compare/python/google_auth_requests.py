"""google-auth's AuthorizedSession with a refresh token, since it has no client credentials for other issuers."""

from drive import API_URL, CLIENT, REFRESH_TOKEN, SECRET, TOKEN_URL, chunks, threads
from google.auth.transport.requests import AuthorizedSession
from google.oauth2.credentials import Credentials

session = AuthorizedSession(
    Credentials(None, refresh_token=REFRESH_TOKEN, token_uri=TOKEN_URL, client_id=CLIENT, client_secret=SECRET)
)
threads(
    lambda: session.get(API_URL).status_code,
    lambda: session.post(API_URL, data=chunks()).status_code,
)
