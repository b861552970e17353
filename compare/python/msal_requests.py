"""MSAL's ConfidentialClientApplication, asked for a token before each call of requests. It accepts only https for the issuer, so
the HTTP client that it is given, an option of its own, sends that to loopback without TLS."""

import msal
import requests
from drive import API_URL, BASE, CLIENT, SECRET, chunks, threads


class Loopback(requests.Session):
    def request(self, method, url, **options):
        return super().request(method, url.replace("https:", "http:", 1), **options)


app = msal.ConfidentialClientApplication(
    CLIENT, client_credential=SECRET, oidc_authority=BASE.replace("http:", "https:") + "/https", http_client=Loopback()
)
session = requests.Session()


def headers():
    answer = app.acquire_token_for_client(scopes=["api"])
    if "access_token" not in answer:
        raise RuntimeError(answer.get("error"))
    return {"Authorization": "Bearer " + answer["access_token"]}


threads(
    lambda: session.get(API_URL, headers=headers()).status_code,
    lambda: session.post(API_URL, headers=headers(), data=chunks()).status_code,
)
