"""The gateways, each with the usual configuration for one core."""

import shutil

from processes import free_port

OURS, BARE, GO, NGINX = "ours", "ours, --no-auth", "Go, x/oauth2", "nginx, static header"


def gateway(fleet, name, binary, upstream, issuer=None):
    """Starts our gateway. Also returns the port of its counters."""
    port, admin = free_port(), free_port()
    argv = [binary, "--upstream", f"http://127.0.0.1:{upstream.port}", "--listen", f"127.0.0.1:{port}",
            "--admin", f"127.0.0.1:{admin}"]
    if issuer:
        argv += ["--token-url", f"http://127.0.0.1:{issuer.port}/token", "--client-id", "client"]
    else:
        argv += ["--no-auth"]
    return fleet.start(name, 0, port, argv, BEARER_CLIENT_SECRET="secret"), admin


def all_of(fleet, binaries, upstream, issuer):
    """Returns the installed gateways by name."""
    def start(name, program, arguments, **environment):
        port = free_port()
        process = fleet.start(name.split(",")[0].lower(), 0, port, [program, *arguments(port)], **environment)
        return {name: process}

    def configured(file):
        return lambda port: ["-f" if file == "haproxy.cfg" else "-c", fleet.configuration(
            file, LISTEN=port, UPSTREAM=upstream.port, ISSUER=issuer.port)]

    url = f"http://127.0.0.1:{upstream.port}"
    found = {
        OURS: gateway(fleet, "ours", binaries / "gateway", upstream, issuer)[0],
        BARE: gateway(fleet, "bare", binaries / "gateway", upstream)[0],
        **start(GO, binaries / "proxy-go", lambda port: [
            f"127.0.0.1:{port}", url, f"http://127.0.0.1:{issuer.port}/token"]),
        **start(NGINX, "nginx", configured("nginx.conf")),
    }
    if shutil.which("haproxy"):
        found |= start("haproxy, static header", "haproxy", configured("haproxy.cfg"))
    if (binaries / "envoy").exists():
        found |= start("Envoy, credential_injector", binaries / "envoy", lambda port: [
            "--concurrency", "1", "--log-level", "error", "--base-id", str(port), *configured("envoy.yaml")(port)])
    if shutil.which("caddy"):
        found |= start("Caddy, static header", "caddy", lambda port: [
            "run", "--adapter", "caddyfile", "--config", configured("Caddyfile")(port)[1]])
    return found
