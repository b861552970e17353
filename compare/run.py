#!/usr/bin/env python3
"""Runs the programs of `peers.py` against `server.py`, and writes what was counted to `results.json`.

`install.sh` comes first. `run.py` runs all, `run.py --only ours_layer,authlib --cases cold,paced` a part, whose results replace
the older ones. `--at-once 3` says how many programs run side by side.
"""

import argparse
import datetime
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from peers import HOME, PEERS

HERE = Path(__file__).parent
RESULTS = Path(os.environ.get("COMPARE_RESULTS") or HERE / "results.json")
PATIENCE = 30  # seconds without an answer to any request
COUNT, RATE, REVOKE_SECONDS, REVOCATIONS = 12_000, 200, 5, 11  # of the paced case, which takes a minute
REPEATS = 3  # of the cases whose counts depend on how threads race


class Server:
    def __init__(self):
        self.process = subprocess.Popen([HOME / "venv/bin/python", HERE / "server.py"], stdout=subprocess.PIPE, text=True)
        self.url = self.process.stdout.readline().strip()

    def control(self, what, **settings):
        request = urllib.request.Request(f"{self.url}/control/{what}", json.dumps(settings).encode(), method="POST")
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return json.load(answer)

    def token_requests(self):
        return self.control("counts")["token_requests"]

    def close(self):
        self.process.kill()
        self.process.wait()


class Program:
    """A peer's process."""

    def __init__(self, peer, server, secret="compare-secret"):
        environment = os.environ | {"COMPARE_URL": server.url, "COMPARE_SECRET": secret, "NO_PROXY": "127.0.0.1"}
        self.errors = open(HOME / f"{peer.name}.log", "a")
        self.process = subprocess.Popen(
            peer.command,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
            bufsize=1,
            start_new_session=True,
        )
        self.lines = queue.Queue()
        threading.Thread(target=self.read, daemon=True).start()
        if self.lines.get(timeout=60) != "ready":
            raise RuntimeError(f"{peer.name} did not start: see {self.errors.name}")

    def read(self):
        for line in self.process.stdout:
            self.lines.put(line.strip())
        self.lines.put(None)

    def do(self, command, count=1):
        """Returns how often each answer came; `none` if the program gave none for 30 seconds."""
        self.process.stdin.write(command + "\n")
        answers = Counter()
        for _ in range(count):
            try:
                answer = self.lines.get(timeout=PATIENCE)
            except queue.Empty:
                answer = None
            if answer is None:
                answers["none"] = count - answers.total()
                break
            answers[answer] += 1
        return dict(sorted(answers.items()))

    def close(self):
        os.killpg(self.process.pid, signal.SIGKILL)  # with what it started
        self.process.wait()
        self.errors.close()


def cold(peer, server, start):
    program = start()
    return measure(server, lambda: program.do("at-once 50", 50), 0)


def revoked(peer, server, start):
    program = start()
    program.do("in-turn 1")
    server.control("revoke")
    return measure(server, lambda: program.do("in-turn 1"))


def revoked_many(peer, server, start):
    program = start()
    program.do("in-turn 1")
    server.control("revoke")
    server.control("set", spread=True)
    return measure(server, lambda: program.do("at-once 50", 50))


def rejecting(peer, server, start):
    program = start(reject=True)
    return measure(server, lambda: program.do("in-turn 100", 100), 0)


def wrong_secret(peer, server, start):
    program = start(secret="wrong")
    return measure(server, lambda: program.do("in-turn 100", 100), 0)


def one_failure(peer, server, start):
    program = start(unavailable=1)
    return measure(server, lambda: program.do("in-turn 1"), 0)


def outage(peer, server, start):
    program = start(unavailable=-1)
    return measure(server, lambda: program.do("in-turn 20", 20), 0)


def due(peer, server, start):
    program = start(life=peer.margin + 3)
    program.do("in-turn 1")

    def wait():
        time.sleep(4.2)  # some libraries count whole seconds
        return program.do("at-once 50", 50)

    return measure(server, wait)


def upload(early):
    def case(peer, server, start):
        program = start(early=early)
        program.do("in-turn 1")
        server.control("revoke")
        result = measure(server, lambda: program.do("upload"))
        return result | {"uploads": server.control("counts")["uploads"]}

    return case


def paced(peer, server, start):
    program, ended, revocations = start(), threading.Event(), 0

    def revoke():
        nonlocal revocations
        while revocations < REVOCATIONS and not ended.wait(REVOKE_SECONDS):
            server.control("revoke")
            revocations += 1

    revoking = threading.Thread(target=revoke)
    revoking.start()
    began = time.monotonic()
    try:
        result = measure(server, lambda: program.do(f"paced {COUNT} {RATE}", COUNT), 0)
    finally:
        seconds = round(time.monotonic() - began)
        ended.set()
        revoking.join()
    return result | {"revocations": revocations, "seconds": seconds}


CASES = {
    "cold": cold,
    "revoked": revoked,
    "revoked_many": revoked_many,
    "due": due,
    "rejecting": rejecting,
    "wrong_secret": wrong_secret,
    "one_failure": one_failure,
    "outage": outage,
    "upload_late": upload(early=False),
    "upload_early": upload(early=True),
    "paced": paced,
}
RACING = {"cold", "revoked_many", "due"}


def measure(server, act, before=None):
    """Counts the token requests while `act` runs, or all since the program started if `before` is 0."""
    before = server.token_requests() if before is None else before
    answers = act()
    return {"token_requests": server.token_requests() - before, "answers": answers}


def run_case(peer, server, name):
    programs = []

    def start(secret="compare-secret", **settings):
        server.control("reset", **settings)
        programs.append(Program(peer, server, secret))
        return programs[-1]

    try:
        return CASES[name](peer, server, start)
    finally:
        for program in programs:
            program.close()


def run_peer(peer, names):
    server, results = Server(), {}
    try:
        for name in names:
            results[name] = [run_case(peer, server, name) for _ in range(REPEATS if name in RACING else 1)]
            print(f"{peer.name} {name}: {results[name]}", flush=True)
    except Exception as error:
        print(f"{peer.name}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
    finally:
        server.close()
    return peer, results


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default=",".join(peer.name for peer in PEERS))
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--at-once", type=int, default=2)
    options = parser.parse_args()
    names, only = options.cases.split(","), options.only.split(",")

    rows = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    with ThreadPoolExecutor(options.at_once) as pool:
        for peer, results in pool.map(lambda peer: run_peer(peer, names), [peer for peer in PEERS if peer.name in only]):
            cases = rows.get(peer.name, {}).get("cases", {}) | results
            rows[peer.name] = {
                "title": peer.title,
                "date": datetime.date.today().isoformat(),
                "versions": peer.versions(),
                "margin": peer.margin,
                "cases": {name: cases[name] for name in CASES if name in cases},
            }
            write({peer.name: rows[peer.name] for peer in PEERS if peer.name in rows})


def write(rows):
    lines = [f"{json.dumps(name)}: {json.dumps(row)}" for name, row in rows.items()]
    RESULTS.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
