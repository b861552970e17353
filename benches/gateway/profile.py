"""Reports whose code runs while the gateway is under load. `perf` samples addresses, and the line tables give their source."""

import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import contestants
import throughput
from processes import HERE, Fleet, on_core_1

SECONDS = 10
ROOT = str(HERE.parent.parent.resolve())
# Inlined code is counted for the first of these that it was inlined into. Code that all of them use is not listed.
OWNERS = [
    (ROOT + "/examples/", "the example gateway"), (ROOT + "/src/", "the layer"), ("/hyper-util-", "hyper-util"),
    ("/hyper-rustls-", "hyper-util"), ("/hyper-", "hyper"), ("/httparse-", "hyper"), ("/tokio-", "tokio"),
]
SHARED = "http, bytes and the standard library"
ALLOCATOR = re.compile(r"malloc|free|calloc|realloc|unlink_chunk|sysmalloc")


def main():
    binaries = Path(sys.argv[1])
    for title, has_layer in ("With the layer", True), ("With --no-auth", False):
        with tempfile.TemporaryDirectory() as state:
            show(title, *record(Path(state), binaries, has_layer))


def record(state, binaries, has_layer):
    with Fleet(state) as fleet:
        upstream = on_core_1(fleet, binaries / "answers")
        issuer = on_core_1(fleet, binaries / "upstream", 86400) if has_layer else None
        gateway, _ = contestants.gateway(fleet, "gateway", binaries / "gateway", upstream, issuer)
        throughput.slice_of(gateway, upstream, 1)
        perf = subprocess.Popen(["perf", "record", "-q", "-F", "2000", "-e", "cpu-clock", "-p", str(gateway.popen.pid),
                                 "-o", state / "perf.data", "--", "sleep", str(SECONDS)])
        found = throughput.slice_of(gateway, upstream, SECONDS + 1)
        if perf.wait() != 0:
            raise RuntimeError("perf record failed")
    script = subprocess.run(["perf", "script", "-i", state / "perf.data", "--show-mmap-events", "-F", "event,ip,sym,dso"],
                            check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
    return samples(script, binaries / "gateway"), found


def samples(script, binary):
    """Returns the number of samples of each owner."""
    counts, ours = Counter(), Counter()
    start = None
    for line in script.splitlines():
        mapped = re.search(r"\[0x(\w+)\(0x\w+\) @ (\w+) .*r-xp (.*)$", line)
        if mapped and mapped[3] == str(binary.resolve()):
            start = int(mapped[1], 16) - int(mapped[2], 0)
        sample = re.search(r"(\w+) (.*) \((.*)\)$", line)
        if mapped or not sample or "PERF_RECORD" in line:
            continue
        address, symbol, place = int(sample[1], 16), sample[2], sample[3]
        if place == str(binary.resolve()):
            ours[address - start] += 1
        elif place.startswith("["):
            counts["the clock" if place == "[vdso]" else "the kernel"] += 1
        else:
            counts["the allocator" if ALLOCATOR.search(symbol) else "copying, and the rest of libc"] += 1
    for offset, owner in owners(binary, list(ours)):
        counts[owner] += ours[offset]
    return counts


def owners(binary, offsets):
    segments = [[int(field, 16) for field in row] for row in re.findall(
        r"LOAD +(0x\w+) (0x\w+) 0x\w+ (0x\w+)", subprocess.check_output(["readelf", "-lW", binary], text=True))]
    address = lambda offset: next(offset - at + virtual for at, virtual, size in segments if at <= offset < at + size)
    lines = subprocess.run(["addr2line", "-a", "-i", "-e", binary], input="\n".join(hex(address(offset)) for offset in offsets),
                           check=True, stdout=subprocess.PIPE, text=True).stdout
    stacks = re.split(r"^0x\w+\n", lines, flags=re.MULTILINE)[1:]
    for offset, stack in zip(offsets, stacks, strict=True):
        frames = stack.splitlines()
        named = (owner for frame in frames for part, owner in OWNERS if part in frame)
        yield offset, next(named, SHARED)


def show(title, counts, found):
    total = sum(counts.values())
    micros = found["cpu"] / found["requests"] * 1e6
    print(f"\n{title}: {found['rate']:,.0f} requests/s, {micros:.1f} µs of CPU each, {total:,} samples")
    print("\n| whose code | share | µs a request |\n|---|---|---|")
    for owner, count in counts.most_common():
        print(f"| {owner} | {100 * count / total:.1f} % | {micros * count / total:.2f} |")


if __name__ == "__main__":
    main()
