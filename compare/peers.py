"""The programs that are compared: how each is started, which packages it uses, and how long before its end it renews a token."""

import json
import os
import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
HOME = Path(os.environ.get("COMPARE_HOME") or Path(tempfile.gettempdir()) / "tower-bearer-compare")
TARGET = Path(os.environ.get("CARGO_TARGET_DIR") or HOME / "target")


@dataclass
class Peer:
    name: str
    title: str
    command: list
    packages: list  # where each is from, and its name
    margin: int  # the library's default, in seconds

    def versions(self):
        return {name: version_of(where, name) for where, name in self.packages}


def version_of(where, name):
    match where:
        case "python":
            command = [HOME / "venv/bin/python", "-c", f"import importlib.metadata as m; print(m.version({name!r}))"]
            return subprocess.check_output(command, text=True).strip()
        case "node":
            return json.loads((HOME / "node/node_modules" / name / "package.json").read_text())["version"]
        case "debian":
            return subprocess.check_output(["dpkg-query", "-W", "-f", "${Version}", name], text=True)
        case "rust":
            lock = (HERE / "rust/Cargo.lock").read_text()
            return max(re.findall(rf'name = "{name}"\nversion = "([^"]+)"', lock))


def rust(program, *arguments):
    return [TARGET / "debug" / program, *arguments]


def python(program):
    return [HOME / "venv/bin/python", HERE / "python" / f"{program}.py"]


def node(program, *arguments):
    return ["node", HOME / "node" / f"{program}.mjs", *arguments]


OURS = [("rust", "tower-bearer")]
GEARS = [("rust", "cf-gears-toolkit-auth"), ("rust", "cf-gears-toolkit-http")]
GOOGLE_CLOUD = [("rust", "google-cloud-auth")]
HTTPX_AUTH = [("python", "httpx-auth"), ("python", "httpx")]
AXIOS = [("node", "axios-auth-refresh"), ("node", "axios")]
GOOGLE_NODE = [("node", "google-auth-library")]

PEERS = [
    Peer("ours_layer", "tower-bearer: the layer, on hyper-util", rust("ours_layer"), OURS, 0),
    Peer("ours_call", "tower-bearer: `cache.call`, with reqwest", rust("ours_call"), OURS, 0),
    Peer("ours_reqwest", "tower-bearer-reqwest", rust("ours_reqwest"), [("rust", "tower-bearer-reqwest")], 0),
    Peer("ours_gateway", "tower-bearer: the example gateway", [*python("gateway"), TARGET / "debug/examples/gateway"], OURS, 0),
    Peer("cf_gears", "cf-gears-toolkit-auth", rust("cf_gears"), GEARS, 1800),
    Peer("cf_gears_refresh", "cf-gears-toolkit-auth, auto-refresh", rust("cf_gears", "refresh"), GEARS, 1800),
    Peer("cf_gears_often", "cf-gears-toolkit-auth, auto-refresh, `min_invalidation_interval` 1 s", rust("cf_gears", "often"), GEARS, 1800),
    Peer("google_cloud", "google-cloud-auth", rust("google_cloud"), GOOGLE_CLOUD, 240),
    Peer("google_cloud_retry", "google-cloud-auth, retry policy", rust("google_cloud", "retry"), GOOGLE_CLOUD, 240),
    Peer(
        "reqwest_auth",
        "reqwest-auth over google-cloud-auth",
        rust("google_cloud", "middleware"),
        [("rust", "reqwest-auth"), *GOOGLE_CLOUD],
        240,
    ),
    Peer("middle", "middle", rust("middle"), [("rust", "middle")], 30),
    Peer("oauth2_kept", "oauth2 (Rust)", rust("oauth2_kept"), [("rust", "oauth2")], 0),
    Peer("go_oauth2", "golang.org/x/oauth2", [HOME / "go_oauth2"], [("debian", "golang-golang-x-oauth2-dev")], 10),
    Peer("authlib", "Authlib, AsyncOAuth2Client", python("authlib_httpx"), [("python", "authlib"), ("python", "httpx2")], 60),
    Peer("httpx_auth", "httpx-auth, threads", python("httpx_auth_threads"), HTTPX_AUTH, 30),
    Peer("httpx_auth_async", "httpx-auth, AsyncClient", python("httpx_auth_async"), HTTPX_AUTH, 30),
    Peer(
        "requests_oauthlib",
        "requests-oauthlib",
        python("requests_oauthlib_cc"),
        [("python", "requests-oauthlib"), ("python", "oauthlib")],
        0,
    ),
    Peer(
        "requests_oauth2client",
        "requests-oauth2client",
        python("requests_oauth2client_cc"),
        [("python", "requests-oauth2client")],
        20,
    ),
    Peer("google_auth", "google-auth (Python)", python("google_auth_requests"), [("python", "google-auth")], 225),
    Peer("msal", "MSAL for Python", python("msal_requests"), [("python", "msal")], 300),
    Peer("simple_oauth2", "simple-oauth2", node("simple_oauth2"), [("node", "simple-oauth2")], 0),
    Peer("openid_client", "openid-client", node("openid_client"), [("node", "openid-client")], 0),
    Peer("axios_auth_refresh", "axios-auth-refresh", node("axios_auth_refresh"), AXIOS, 0),
    Peer(
        "axios_auth_refresh_independent",
        "axios-auth-refresh, `deduplicateRefresh: false`",
        node("axios_auth_refresh", "independent"),
        AXIOS,
        0,
    ),
    Peer("badgateway", "@badgateway/oauth2-client", node("badgateway"), [("node", "@badgateway/oauth2-client")], 0),
    Peer("google_node", "google-auth-library (Node)", node("google_auth"), GOOGLE_NODE, 300),
    Peer(
        "google_node_force",
        "google-auth-library, `forceRefreshOnFailure`",
        node("google_auth", "force"),
        GOOGLE_NODE,
        300,
    ),
    Peer("ruby_oauth2", "oauth2 (Ruby)", ["ruby", HERE / "ruby/oauth2.rb"], [("debian", "ruby-oauth2")], 0),
]
