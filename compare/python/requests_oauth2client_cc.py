"""requests-oauth2client's OAuth2ClientCredentialsAuth on one session of requests."""

import requests
from drive import API_URL, CLIENT, SECRET, TOKEN_URL, chunks, threads
from requests_oauth2client import OAuth2Client, OAuth2ClientCredentialsAuth

session = requests.Session()
session.auth = OAuth2ClientCredentialsAuth(OAuth2Client(TOKEN_URL, auth=(CLIENT, SECRET), testing=True))  # without https
threads(
    lambda: session.get(API_URL).status_code,
    lambda: session.post(API_URL, data=chunks()).status_code,
)
