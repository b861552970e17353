"""The maximum throughput of each gateway: a closed loop by wrk, in slices that take turns."""

import json
import os
import statistics
import subprocess
import urllib.request

from contestants import BARE, GO, NGINX, OURS
from processes import HERE, busy

CONNECTIONS = 64
TARGETS = [(BARE, 0.98), (GO, 2.5), (NGINX, 0.7)]


def measure(gateways, upstream, rounds):
    """Returns the slices of each gateway by name."""
    slices = {name: [] for name in gateways}
    for name, gateway in gateways.items():
        with urllib.request.urlopen(f"http://127.0.0.1:{gateway.port}/seen") as seen:
            has_token = b"authorization: bearer" in seen.read().lower()
        if has_token != (name != BARE):
            raise RuntimeError(f"{name}: with a token? {has_token}")
        slice_of(gateway, upstream, 1)
    for turn in range(rounds):
        # In one order and then in reverse, so that effects that change over time are the same for all.
        names = list(gateways) if turn % 2 == 0 else list(reversed(gateways))
        for name in names:
            slices[name].append(slice_of(gateways[name], upstream, 1))
    return slices


def slice_of(gateway, upstream, seconds):
    before = gateway.cpu(), upstream.cpu(), busy(0), busy(1)
    wrk = subprocess.Popen(
        ["taskset", "-c", "1", "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}", "-s", HERE / "report.lua",
         f"http://127.0.0.1:{gateway.port}/fhir/Patient/123"],
        stdout=subprocess.PIPE, text=True)
    text = wrk.stdout.read()
    _, status, usage = os.wait4(wrk.pid, 0)
    wrk.returncode = status
    if status != 0:
        raise RuntimeError(f"wrk failed:\n{text}")
    after = gateway.cpu(), upstream.cpu(), busy(0), busy(1)
    found = json.loads(text.strip().splitlines()[-1])
    share = lambda core: (after[core][0] - before[core][0]) / (after[core][1] - before[core][1])
    return {
        **found,
        "rate": found["requests"] / found["micros"] * 1e6,
        "cpu": after[0] - before[0],
        "load": (usage.ru_utime + usage.ru_stime) / seconds,
        "upstream": (after[1] - before[1]) / seconds,
        "core0": share(2),
        "core1": share(3),
    }


def show(gateways, slices):
    median = lambda name, key: statistics.median(slice[key] for slice in slices[name])
    total = lambda name, key: sum(slice[key] for slice in slices[name])
    print(f"\n{CONNECTIONS} connections in a closed loop, medians of {len(slices[OURS])} slices, one core each")
    print("\n| gateway | requests/s | p50 ms | p99 ms | p99.9 ms | CPU s per million | peak MiB | failures |")
    print("|---|---|---|---|---|---|---|---|")
    for name, gateway in gateways.items():
        times = " | ".join(f"{median(name, key) / 1000:.2f}" for key in ("p50", "p99", "p999"))
        print(f"| {name} | {median(name, 'rate'):,.0f} | {times} | {cost(slices[name]) * 1e6:.1f} | {gateway.most_memory():.0f} "
              f"| {total(name, 'failures')} |")
    print("\n| gateway | core 0 busy | core 1 busy | of it wrk | of it the upstream |\n|---|---|---|---|---|")
    for name in gateways:
        shares = " | ".join(f"{100 * median(name, key):.0f} %" for key in ("core0", "core1", "load", "upstream"))
        print(f"| {name} | {shares} |" + (" void: core 1 was the limit" if median(name, "core1") > 0.95 else ""))
    print("\n| ours, compared with | throughput | target | | the other's CPU |\n|---|---|---|---|---|")
    for other, target in TARGETS:
        ratio = median(OURS, "rate") / median(other, "rate")
        cpu = cost(slices[other]) / cost(slices[OURS])
        print(f"| {other} | {ratio:.2f} | {target} | {'holds' if ratio >= target else 'MISSED'} | {cpu:.2f} times ours |")


def cost(slices):
    """Returns the CPU seconds per request."""
    return sum(each["cpu"] for each in slices) / sum(each["requests"] for each in slices)
