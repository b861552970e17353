"""The cost of renewals and revocations: an open load, far below the maximum, with three kinds of token."""

import re
import statistics
import subprocess
import urllib.request
from dataclasses import dataclass, field

import contestants
from processes import on_core_1

CONNECTIONS = 64
RATE = 8000
STEADY, ROTATING, REVOKED = "one token", "renewed each second", "revoked each second"
# The issuer's settings. A token is stale after about three quarters of its lifetime, which is one second here.
KINDS = {STEADY: [86400], ROTATING: [4 / 3], REVOKED: [86400, 1]}
TARGET = 1.1


@dataclass
class Kind:
    gateway: object
    admin: int
    upstream: object
    slices: list = field(default_factory=list)


@dataclass
class Slice:
    """Returns samples of time, status and latency, in microseconds."""
    samples: list
    events: dict
    retries: int

    def latencies(self):
        return sorted(latency for _, _, latency in self.samples)


def start(fleet, binaries):
    kinds = {}
    for number, (name, settings) in enumerate(KINDS.items()):
        upstream = on_core_1(fleet, binaries / "upstream", *settings)
        kinds[name] = Kind(*contestants.gateway(fleet, f"gateway-{number}", binaries / "gateway", upstream, upstream), upstream)
    return kinds


def measure(kinds, binaries, rounds, seconds):
    for turn in range(rounds):
        for name in list(kinds) if turn % 2 == 0 else reversed(kinds):
            kinds[name].slices.append(slice_of(kinds[name], binaries, seconds))


def slice_of(kind, binaries, seconds):
    run = lambda seconds: subprocess.run(
        ["taskset", "-c", "1", binaries / "load", f"127.0.0.1:{kind.gateway.port}", str(CONNECTIONS), str(RATE), str(seconds)],
        check=True, stdout=subprocess.PIPE, text=True).stdout
    # A warm-up: it opens the connections, and replaces a token that was revoked since the last request.
    run(0.5)
    retries, noted = retries_of(kind), kind.upstream.out.stat().st_size
    samples = [tuple(map(int, line.split())) for line in run(seconds).splitlines()]
    events = {"issued": [], "revoked": [], "rejected": []}
    with open(kind.upstream.out) as out:
        out.seek(noted)
        for line in out:
            what, when = line.split()
            events[what].append(int(when))
    return Slice(samples, events, retries_of(kind) - retries)


def retries_of(kind):
    with urllib.request.urlopen(f"http://127.0.0.1:{kind.admin}/metrics") as page:
        return int(re.search(r"^gateway_retries_total (\d+)", page.read().decode(), re.MULTILINE)[1])


def percentile(ordered, share):
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def show(kinds):
    slices = len(kinds[STEADY].slices)
    print(f"\n{RATE:,} requests/s, evenly, by {CONNECTIONS} connections; {slices} slices of each, all together")
    print("\n| token | requests | failures | p50 ms | p99 ms | p99.9 ms | most ms | token requests | revocations | 401s | retries |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for name, kind in kinds.items():
        all_samples = [sample for of_slice in kind.slices for sample in of_slice.samples]
        ordered = sorted(latency for _, _, latency in all_samples)
        times = " | ".join(f"{percentile(ordered, share) / 1000:.2f}" for share in (0.5, 0.99, 0.999, 1))
        failures = sum(status != 200 for _, status, _ in all_samples)
        counts = " | ".join(str(sum(len(of_slice.events[what]) for of_slice in kind.slices))
                            for what in ("issued", "revoked", "rejected"))
        retries = sum(of_slice.retries for of_slice in kind.slices)
        print(f"| {name} | {len(ordered):,} | {failures} | {times} | {counts} | {retries} |")
    p99 = lambda of_slice: percentile(of_slice.latencies(), 0.99)
    pairs = zip(kinds[ROTATING].slices, kinds[STEADY].slices)
    ratios = sorted(p99(rotating) / p99(steady) for rotating, steady in pairs)
    ratio = statistics.median(ratios)
    verdict = "holds" if ratio <= TARGET else "MISSED"
    print(f"\np99 {ROTATING} ÷ p99 of {STEADY}: {ratio:.2f}, the median of {len(ratios)} pairs of slices "
          f"({ratios[0]:.2f} to {ratios[-1]:.2f}); target {TARGET}: {verdict}")
