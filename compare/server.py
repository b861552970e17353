"""An authorization server and an API on loopback, in one process, which a runner scripts. `python3 server.py` prints its address.

POST /control/reset with a JSON object sets what `SETTINGS` names, forgets all tokens and sets the counts to zero; without
`reset`, POST /control/set changes only what it names. POST /control/revoke ends all tokens of now. GET /control/counts reads.
"""

import asyncio
import base64
import itertools
import secrets
import time
from urllib.parse import unquote

from aiohttp import web

CLIENT, SECRET, REFRESH_TOKEN = "compare-client", "compare-secret", "compare-refresh"
TOKEN_SECONDS = 0.05
ANSWER_SECONDS = 0.02
SETTINGS = {
    "life": 3600,  # seconds of a token
    "unavailable": 0,  # how many token requests are answered 503; -1 for all
    "reject": False,  # whether the API answers 401 to all tokens
    "spread": False,  # whether the API's answers take up to 300 ms longer, each another time
    "early": False,  # whether the API answers 401 at the head of an upload, before it reads the body
}


class Server:
    def __init__(self):
        self.reset({})

    def reset(self, settings):
        self.settings = SETTINGS | settings
        self.tokens = {}
        self.turns = itertools.count()
        self.counts = {"token_requests": 0, "tokens": 0, "api_requests": 0, "accepted": 0, "uploads": []}

    async def token(self, request):
        # Google's clients send JSON.
        form = await (request.json() if request.content_type == "application/json" else request.post())
        self.counts["token_requests"] += 1
        await asyncio.sleep(TOKEN_SECONDS)
        if self.settings["unavailable"]:
            self.settings["unavailable"] -= 1
            return web.json_response({"error": "temporarily_unavailable"}, status=503)
        if client_of(request, form) != (CLIENT, SECRET):
            return web.json_response({"error": "invalid_client"}, status=401, headers={"WWW-Authenticate": "Basic realm=\"token\""})
        answer = {"token_type": "Bearer", "expires_in": self.settings["life"]}
        match form.get("grant_type"):
            case "client_credentials":
                pass
            case "refresh_token" if form.get("refresh_token") == REFRESH_TOKEN:
                answer["refresh_token"] = REFRESH_TOKEN
            case _:
                return web.json_response({"error": "invalid_grant"}, status=400)
        answer["access_token"] = secrets.token_urlsafe(24)
        self.tokens[answer["access_token"]] = time.monotonic() + self.settings["life"]
        self.counts["tokens"] += 1
        return web.json_response(answer, headers={"Cache-Control": "no-store"})

    def is_good(self, request):
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        return not self.settings["reject"] and scheme.lower() == "bearer" and self.tokens.get(token, 0) > time.monotonic()

    async def api(self, request):
        self.counts["api_requests"] += 1
        good = self.is_good(request)
        if request.method == "POST":
            if not good and self.settings["early"]:
                return unauthorized()
            size = len(await request.read())
            if good:
                self.counts["uploads"].append(size)
        await asyncio.sleep(ANSWER_SECONDS + (next(self.turns) * 37 % 50 * 0.006 if self.settings["spread"] else 0))
        if not good:
            return unauthorized()
        self.counts["accepted"] += 1
        return web.json_response({"ok": True})

    async def metadata(self, request):
        issuer = str(request.url.origin())
        if request.path.startswith("/https/"):  # for MSAL, which asks for https, and whose HTTP client here sends http
            return web.json_response(metadata_of(issuer.replace("http:", "https:"), "/https"))
        return web.json_response(metadata_of(issuer))

    async def control(self, request):
        match request.match_info["what"]:
            case "reset":
                self.reset(await request.json())
            case "set":
                self.settings |= await request.json()
            case "revoke":
                self.tokens.clear()
        return web.json_response(self.counts)


def metadata_of(issuer, path=""):
    return {
        "issuer": issuer + path,
        "authorization_endpoint": issuer + "/authorize",
        "token_endpoint": issuer + "/token",
        "jwks_uri": issuer + "/jwks",
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "grant_types_supported": ["client_credentials", "refresh_token"],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
    }


def client_of(request, form):
    scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "basic":
        name, _, secret = base64.b64decode(credentials).decode().partition(":")
        return unquote(name), unquote(secret)
    return form.get("client_id"), form.get("client_secret")


def unauthorized():
    return web.json_response({"ok": False}, status=401, headers={"WWW-Authenticate": 'Bearer error="invalid_token"'})


async def main():
    server = Server()
    app = web.Application(client_max_size=64 << 20)
    app.router.add_post("/token", server.token)
    app.router.add_route("*", "/api", server.api)
    for path in ["", "/https"]:
        app.router.add_get(path + "/.well-known/openid-configuration", server.metadata)
    app.router.add_route("*", "/control/{what}", server.control)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, backlog=1024)
    await site.start()
    print(f"http://127.0.0.1:{runner.addresses[0][1]}", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
