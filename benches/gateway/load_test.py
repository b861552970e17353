"""The gateway's load test, see README.md. `run.sh` installs and builds what is needed, and then runs this."""

import argparse
import os
import signal
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import contestants
import draw
import renewal
import throughput
from processes import HERE, Fleet, on_core_1


def main():
    parser = argparse.ArgumentParser(prog="run.sh")
    parser.add_argument("--quick", action="store_true", help="less than a minute, for a first look")
    parser.add_argument("--only", choices=["throughput", "renewal"], help="one half of it")
    parser.add_argument("binaries", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    sys.stdout.reconfigure(line_buffering=True)
    if not {0, 1} <= os.sched_getaffinity(0):
        sys.exit("two cores are needed: 0 for the gateway, 1 for all else")
    # Stops all processes that were started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory() as state, priority(-15):
        if options.only != "renewal":
            measure_throughput(state, options)
        if options.only != "throughput":
            measure_renewal(state, options)


@contextmanager
def priority(nice):
    """Gives what is started here a higher priority than other processes, if permitted."""
    # If Linux schedules by sessions, the priority of a process applies only within its session.
    session = Path("/proc/self/autogroup")
    try:
        os.setpriority(os.PRIO_PROCESS, 0, nice)
        if session.exists():
            session.write_text(str(nice))
    except PermissionError:
        print("not root: what else runs on the machine disturbs the figures")
    try:
        yield
    finally:
        if session.exists():
            session.write_text("0")


def measure_throughput(state, options):
    with Fleet(state) as fleet:
        upstream = on_core_1(fleet, options.binaries / "answers")
        issuer = on_core_1(fleet, options.binaries / "upstream", 86400)
        gateways = contestants.all_of(fleet, options.binaries, upstream, issuer)
        # The slices are short, so that a short disturbance affects one pair only.
        rounds = 2 if options.quick else 15
        throughput.show(gateways, throughput.measure(gateways, upstream, rounds))


def measure_renewal(state, options):
    with Fleet(state) as fleet:
        kinds = renewal.start(fleet, options.binaries)
        # The first slice is for the picture.
        renewal.measure(kinds, options.binaries, 1, 3)
        renewal.measure(kinds, options.binaries, 2 if options.quick else 35, 1)
    renewal.show(kinds)
    if not options.quick:
        draw.chart({name: kind.slices[0] for name, kind in kinds.items()}, HERE / "../../docs/gateway-latency.svg")


if __name__ == "__main__":
    main()
