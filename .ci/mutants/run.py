#!/usr/bin/env python3
"""Mutation testing: one build holds all mutants of cargo-mutants, and a variable of the environment says which one is on.

run.py [FILTER] [--again] [--fresh] [--kept] [--longest SECONDS]
  FILTER   only mutants in whose name this regular expression is found, such as `src/pool` or `Backoff`
  --again  runs once more what survived or was not reached; without it, only mutants without a result run
  --fresh  forgets all results
  --kept   traces only new tests: right as long as nothing but tests was added
  --longest SECONDS
           leaves out the tests that take longer: what survives then needs a run with --again

The work folder is TOWER_BEARER_MUTANTS_DIR, else `target/mutants`. In it, `results.jsonl` has a line for each mutant, and
`survivors.txt` lists the ones that no test fails for and `explained.toml` does not explain. The exit code is 1 if there are any.
What a result means:
  killed      a test fails with it, twice
  timed out   a test ends with it neither soon nor in its time
  unviable    it does not compile
  unplaced    it cannot be behind a switch: cargo-mutants can run it alone
  unreached   no test reaches it
  survived    all tests that reach it pass
"""

import argparse
import collections
import concurrent.futures
import hashlib
import json
import os
import pathlib
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import tomllib

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
SOURCES = ["src/cache", "src/challenge", "src/future", "src/pool", "src/store", "src/replay"]
# Tests themselves, under a condition that cargo-mutants does not evaluate.
NOT_TESTED = ["src/cache/interleavings.rs", "src/cache/renewal_interleavings.rs", "src/pool/eviction_interleavings.rs"]
BINARIES = ["--lib", "--test", "api", "--test", "allocations"]
WORK = pathlib.Path(os.environ.get("TOWER_BEARER_MUTANTS_DIR") or ROOT / "target" / "mutants")
TREE = WORK / "tree"
PARALLEL = int(os.environ.get("TOWER_BEARER_MUTANTS_PARALLEL", "2"))
MEMORY = 4 << 30
# How many tests have a process of their own before the others share one.
ALONE = 4
ENVIRONMENT = {"CARGO_INCREMENTAL": "0", "CARGO_PROFILE_DEV_DEBUG": "0"} | os.environ


def say(*words):
    print(time.strftime("%H:%M:%S"), *words, flush=True)


# The mutants


def listed():
    globs = [part for source in SOURCES for part in ("--file", f"{source}/**")]
    command = ["cargo", "mutants", "--list", "--json", "--package", "tower-bearer", *globs]
    mutants = json.loads(subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout)
    lines, seen = {}, collections.Counter()
    for number, mutant in enumerate(mutants, 1):
        mutant["id"] = number
        file, line, column, what = re.fullmatch(r"(.*?):(\d+):(\d+): (.*)", mutant["name"], re.DOTALL).groups()
        text = lines.setdefault(file, (ROOT / file).read_text().split("\n"))
        # A name that stays when lines are added above.
        mutant["what"] = what
        mutant["line"] = "" if mutant["genre"] == "FnValue" else text[int(line) - 1].strip()
        key = (file, what, mutant["line"])
        seen[key] += 1
        mutant["key"] = json.dumps([*key, seen[key]])
    return [mutant for mutant in mutants if mutant["file"] not in NOT_TESTED]


def explained():
    with open(HERE / "explained.toml", "rb") as file:
        entries = tomllib.load(file).get("mutant", [])
    return {(entry["file"], entry["mutant"], entry.get("line", "")): entry["reason"] for entry in entries}


# The build


def copy(mutated):
    """Copies the tree, without the files that get mutants: each write makes cargo build again."""
    TREE.mkdir(parents=True, exist_ok=True)
    files = subprocess.run(["git", "ls-files", "-z", "-co", "--exclude-standard"], cwd=ROOT, check=True, stdout=subprocess.PIPE)
    names = {name for name in files.stdout.decode().split("\0") if name and (ROOT / name).is_file()} | {"Cargo.lock"}
    for name in names:
        if (ROOT / name).exists() and name not in mutated and name != "Cargo.toml":
            write(TREE / name, (ROOT / name).read_bytes())
    for path in TREE.rglob("*"):
        if path.is_file() and str(path.relative_to(TREE)) not in names:
            path.unlink()
    manifest = (ROOT / "Cargo.toml").read_text()
    switch = f"\n[dependencies.tower-bearer-switch]\npath = {json.dumps(str(HERE / 'switch'))}\n"
    write(TREE / "Cargo.toml", (manifest + switch).encode())


def stamp():
    """Changes when the build must."""
    hash = hashlib.sha256()
    for folder in (ROOT / "src", ROOT / "tests", HERE / "src", HERE / "switch"):
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            hash.update(str(path).encode() + path.read_bytes())
    hash.update((ROOT / "Cargo.toml").read_bytes())
    return hash.hexdigest()


def write(path, content):
    if not path.exists() or path.read_bytes() != content:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def place(tool, mutants, files):
    """Rewrites these files of the copy with these mutants. A file is replaced only if it changes."""
    entry = [{key: mutant[key] for key in ("id", "file", "genre", "replacement", "span")} for mutant in mutants]
    with tempfile.TemporaryDirectory() as scratch:
        for name in {mutant["file"] for mutant in mutants}:
            (pathlib.Path(scratch) / name).parent.mkdir(parents=True, exist_ok=True)
        list_file = pathlib.Path(scratch) / "mutants.json"
        list_file.write_text(json.dumps(entry))
        placed = json.loads(subprocess.run([tool, list_file, ROOT, scratch], check=True, stdout=subprocess.PIPE).stdout)
        for name in files:
            changed = pathlib.Path(scratch) / name
            # A file all of whose mutants do not compile stays as it is.
            write(TREE / name, (changed if changed.exists() else ROOT / name).read_bytes())
    return placed


def cargo(*arguments):
    command = ["cargo", *arguments, "--all-features", "--message-format", "json"]
    done = subprocess.run(command, cwd=TREE, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    return done, [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def spans(message):
    yield from message["spans"]
    for child in message["children"]:
        yield from spans(child)


def blamed(message, regions):
    """The mutants in whose text an error is; if there are none, those that it mentions."""
    primary = [span for span in message["spans"] if span["is_primary"]]
    inside = lambda span, region: region["start"] <= span["byte_start"] and span["byte_end"] <= region["end"]
    overlaps = lambda span, region: region["start"] < span["byte_end"] and span["byte_start"] < region["end"]
    for places, matches in [(primary, inside), (list(spans(message)), inside), (primary, overlaps)]:
        found = {r["id"] for span in places for r in regions if r["file"] == span["file_name"] and matches(span, r)}
        if found:
            return found
    return set()


def build(mutants):
    """Returns the test binaries, and for each mutant that is not in them, why."""
    kept = WORK / "built.json"
    if kept.exists():
        before = json.loads(kept.read_text())
        if before["stamp"] == stamp() and all(os.path.exists(binary) for binary in before["binaries"]):
            return before["binaries"], {int(number): why for number, why in before["absent"].items()}
    say("building the tool")
    subprocess.run(["cargo", "build", "--quiet", "--release", "--manifest-path", HERE / "Cargo.toml"], check=True, env=ENVIRONMENT)
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", HERE / "target"))
    absent = {}
    files = {mutant["file"] for mutant in mutants}
    copy(files)
    # What did not compile in an earlier run is not tried again.
    cache = WORK / "unviable.json"
    known = set(json.loads(cache.read_text())) if cache.exists() else set()
    absent |= {mutant["id"]: "unviable" for mutant in mutants if mutant["key"] in known}
    while True:
        placed = place(target / "release" / "tower-bearer-mutants", [m for m in mutants if m["id"] not in absent], files)
        absent |= {int(number): why for number, why in placed["unplaced"].items()}
        done, messages = cargo("check", "--lib")
        failed = [m["message"] for m in messages if m["reason"] == "compiler-message" and m["message"]["level"] == "error" and m["message"]["spans"]]
        if done.returncode == 0:
            break
        guilty = {}
        for message in failed:
            for number in blamed(message, placed["regions"]):
                guilty.setdefault(number, message["rendered"])
        say(f"{len(failed)} errors of the compiler: {len(guilty)} mutants are unviable")
        if not guilty:
            sys.exit("the copy does not compile:\n" + "".join(message["rendered"] for message in failed[:5]) + done.stderr[-3000:])
        absent |= {number: "unviable" for number in guilty}
        cache.write_text(json.dumps([m["key"] for m in mutants if absent.get(m["id"]) == "unviable"], indent=0))
        with open(WORK / "unviable.txt", "a") as file:
            for mutant in mutants:
                if mutant["id"] in guilty:
                    print(mutant["name"], guilty[mutant["id"]], sep="\n", file=file)
    say("building the tests")
    done, messages = cargo("test", "--no-run", *BINARIES)
    if done.returncode != 0:
        sys.exit("the tests do not compile:\n" + "".join(m["message"]["rendered"] for m in messages if m["reason"] == "compiler-message" and m["message"]["level"] == "error"))
    binaries = [m["executable"] for m in messages if m["reason"] == "compiler-artifact" and m["executable"] and m["profile"]["test"]]
    kept.write_text(json.dumps({"stamp": stamp(), "binaries": binaries, "absent": absent}))
    return binaries, absent


# The tests


def limits():
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.setsid()


def run(binary, names, seconds, variables):
    """Returns whether these tests pass, or None at the end of their time; which pass; which fail; and how long they take."""
    began = time.monotonic()
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            [binary, "--exact", "--test-threads", "1", *names],
            cwd=TREE,
            env=ENVIRONMENT | {"CARGO_MANIFEST_DIR": str(TREE)} | variables,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.DEVNULL,
            preexec_fn=limits,
        )
        try:
            passed = process.wait(seconds) == 0
        except subprocess.TimeoutExpired:
            passed = None
        # Its children as well.
        try:
            os.killpg(process.pid, 9)
        except ProcessLookupError:
            pass
        process.wait()
        took = time.monotonic() - began
        output.seek(0)
        lines = re.findall(r"^test (\S+)(?: - should panic)? \.\.\. .*?(ok|FAILED)$", output.read().decode(errors="replace"), re.MULTILINE)
    results = {"ok": set(), "FAILED": set()}
    for name, result in lines:
        results[result].add(name)
    return passed, results["ok"], results["FAILED"], took


def trace(binaries, keep):
    """Runs each test once, and returns those that pass: how long each takes, and the mutants that it reaches."""
    kept, built = WORK / "trace.json", [[binary, os.path.getmtime(binary)] for binary in binaries]
    if kept.exists():
        before = json.loads(kept.read_text())
        if before["built"] == built:
            return {(binary, name): (took, set(reached)) for binary, name, took, reached in before["tests"]}
    stem = lambda binary: pathlib.Path(binary).name.rpartition("-")[0]
    known = {}
    if keep and kept.exists():
        known = {(stem(binary), name): (took, set(reached)) for binary, name, took, reached in before["tests"]}
    tests, traced = [], {}
    for binary in binaries:
        names = subprocess.run([binary, "--list", "--format", "terse"], check=True, stdout=subprocess.PIPE, text=True, cwd=TREE)
        ignored = subprocess.run([binary, "--list", "--ignored", "--format", "terse"], check=True, stdout=subprocess.PIPE, text=True, cwd=TREE)
        skipped = set(ignored.stdout.splitlines())
        tests += [(binary, line.removesuffix(": test")) for line in names.stdout.splitlines() if line.endswith(": test") and line not in skipped]
    for test in tests:
        if (stem(test[0]), test[1]) in known:
            traced[test] = known[stem(test[0]), test[1]]
    tests = [test for test in tests if test not in traced]
    say(f"tracing {len(tests)} tests")

    def one(test):
        with tempfile.NamedTemporaryFile() as file:
            passed, _, _, took = run(test[0], [test[1]], 120, {"TOWER_BEARER_REACHED": file.name})
            return test, passed, took, {int(line) for line in file.read().split()}

    with concurrent.futures.ThreadPoolExecutor(PARALLEL) as pool:
        for test, passed, took, reached in pool.map(one, tests):
            if passed:
                traced[test] = (took, reached)
            else:
                say("left out, it fails without a mutant:", test[1])
    kept.write_text(json.dumps({"built": built, "tests": [[*test, took, sorted(reached)] for test, (took, reached) in traced.items()]}))
    return traced


class Killers:
    """Which tests to try first: those that killed others of the function, of the file, then the quickest."""

    def __init__(self):
        self.lock = threading.Lock()
        self.counts = collections.Counter()

    def order(self, mutant, tests):
        function = (mutant["file"], (mutant["function"] or {}).get("function_name"))
        with self.lock:
            counts = dict(self.counts)
        rank = lambda test: (-counts.get((function, test), 0), -counts.get((mutant["file"], test), 0), tests[test][0])
        return sorted(tests, key=rank)

    def killed(self, mutant, test):
        function = (mutant["file"], (mutant["function"] or {}).get("function_name"))
        with self.lock:
            self.counts[(function, test)] += 1
            self.counts[(mutant["file"], test)] += 1


def judge(mutant, traced, killers):
    tests = {test: traced[test] for test in traced if mutant["id"] in traced[test][1]}
    if not tests:
        return {"status": "unreached"}
    on = {"TOWER_BEARER_MUTANT": str(mutant["id"])}

    def alone(test):
        longest = max(10, 20 * tests[test][0])
        passed, *_ = run(test[0], [test[1]], longest, on)
        # A test that fails now and then must not kill.
        if passed is False:
            passed, *_ = run(test[0], [test[1]], longest, on)
        if passed:
            return None
        killers.killed(mutant, test)
        return {"status": "timed out" if passed is None else "killed", "test": test[1]}

    order = killers.order(mutant, tests)
    for test in order[:ALONE]:
        if result := alone(test):
            return result
    # Many tests in a process are faster. What is wrong with them is found out one by one.
    for batch in batches(order[ALONE:]):
        longest = 10 + 10 * sum(tests[test][0] for test in batch)
        passed, ok, failed, _ = run(batch[0][0], [test[1] for test in batch], longest, on)
        if not passed:
            for test in sorted(batch, key=lambda test: test[1] not in failed):
                if test[1] not in ok and (result := alone(test)):
                    return result
    return {"status": "survived", "tests": len(tests)}


def batches(tests):
    """Tests of one binary each, the first ones in small batches."""
    size, waiting = 8, {}
    for test in tests:
        batch = waiting.setdefault(test[0], [])
        batch.append(test)
        if len(batch) >= size:
            yield waiting.pop(test[0])
            size = 48
    yield from waiting.values()


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("filter", nargs="?", default="")
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--fresh", action="store_true")
    parser.add_argument("--kept", action="store_true")
    parser.add_argument("--longest", type=float, default=float("inf"))
    options = parser.parse_args()
    WORK.mkdir(parents=True, exist_ok=True)
    results_file = WORK / "results.jsonl"
    if options.fresh:
        results_file.unlink(missing_ok=True)
        shutil.rmtree(TREE, ignore_errors=True)
        (WORK / "unviable.json").unlink(missing_ok=True)
    mutants = listed()
    say(f"{len(mutants)} mutants")
    binaries, absent = build(mutants)
    traced = {test: traced for test, traced in trace(binaries, options.kept).items() if traced[0] <= options.longest}
    results = {}
    if results_file.exists():
        for line in results_file.read_text().splitlines():
            result = json.loads(line)
            results[result["key"]] = result

    def wanted(mutant):
        if mutant["id"] in absent or not re.search(options.filter, mutant["name"]):
            return False
        status = results.get(mutant["key"], {}).get("status")
        return status not in ("killed", "timed out", *([] if options.again else ["survived", "unreached"]))

    todo = [mutant for mutant in mutants if wanted(mutant)]
    # A mutant that most tests reach takes longest. They come last.
    reach = collections.Counter(number for _, reached in traced.values() for number in reached)
    todo.sort(key=lambda mutant: reach[mutant["id"]])
    say(f"{len(todo)} mutants to run")
    killers, lock, done = Killers(), threading.Lock(), 0
    by_name = {test[1]: test for test in traced}
    names = {mutant["key"]: mutant for mutant in mutants}
    for result in results.values():
        if result.get("test") in by_name and result["key"] in names:
            killers.killed(names[result["key"]], by_name[result["test"]])
    with open(results_file, "a") as file, concurrent.futures.ThreadPoolExecutor(PARALLEL) as pool:

        def one(mutant):
            nonlocal done
            result = {"key": mutant["key"], "name": mutant["name"]} | judge(mutant, traced, killers)
            with lock:
                results[mutant["key"]] = result
                print(json.dumps(result), file=file, flush=True)
                done += 1
                if result["status"] in ("survived", "unreached"):
                    say(f"{done}/{len(todo)} {result['status']}: {mutant['name']}")
                elif done % 50 == 0:
                    say(f"{done}/{len(todo)}")

        list(pool.map(one, todo))
    report(mutants, absent, results, options.filter)


def report(mutants, absent, results, filter):
    reasons, counts, left, used = explained(), collections.Counter(), [], set()
    for mutant in mutants:
        if not re.search(filter, mutant["name"]):
            continue
        why = absent.get(mutant["id"]) or results.get(mutant["key"], {}).get("status", "not run")
        status = why.partition(":")[0]
        counts[status] += 1
        if status in ("survived", "unreached", "unplaced", "not run"):
            key = (mutant["file"], mutant["what"], mutant["line"])
            used.add(key)
            if key in reasons:
                counts["explained"] += 1
            else:
                left.append(f"{why}: {mutant['name']}")
    (WORK / "survivors.txt").write_text("".join(f"{line}\n" for line in left))
    print(*left, sep="\n")
    for file, what, line in reasons.keys() - used if not filter else ():
        say(f"explained, but it does not survive: {file}: {what} {line}")
    say(f"{sum(counts[key] for key in counts if key != 'explained')} mutants:", ", ".join(f"{count} {key}" for key, count in counts.most_common()))
    say(f"{len(left)} not explained: {WORK / 'survivors.txt'}")
    sys.exit(1 if left else 0)


if __name__ == "__main__":
    main()
