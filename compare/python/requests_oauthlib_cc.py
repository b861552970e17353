"""requests-oauthlib with a BackendApplicationClient. The program fetches the first token, and another one at TokenExpiredError."""

import os

os.environ["OAUTHLIB_INSECURE_TRANSPORT"] = "1"  # loopback has no https

from drive import API_URL, CLIENT, SECRET, TOKEN_URL, chunks, threads
from oauthlib.oauth2 import BackendApplicationClient, TokenExpiredError
from requests_oauthlib import OAuth2Session

session = OAuth2Session(client=BackendApplicationClient(client_id=CLIENT))


def fetch():
    session.fetch_token(token_url=TOKEN_URL, client_id=CLIENT, client_secret=SECRET)


def with_token(request):
    if not session.token:
        fetch()
    try:
        return request().status_code
    except TokenExpiredError:
        fetch()
        return request().status_code


threads(
    lambda: with_token(lambda: session.get(API_URL)),
    lambda: with_token(lambda: session.post(API_URL, data=chunks())),
)
