#!/usr/bin/env python3
"""Writes the tables of `COMPARE.md` from `results.json`. With `--check`, fails if they are not exactly what it would write."""

import json
import sys
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE.parent / "COMPARE.md"
UPLOAD = 1_000_000
# What the page says below the tables about these rows.
NOTES = {
    "ours_gateway": "a",
    "cf_gears": "b i",
    "cf_gears_refresh": "b i",
    "cf_gears_often": "b i",
    "google_cloud": "c",
    "google_cloud_retry": "c",
    "reqwest_auth": "c",
    "middle": "d",
    "oauth2_kept": "e",
    "authlib": "b f",
    "requests_oauthlib": "f",
    "google_auth": "c",
    "msal": "g",
    "simple_oauth2": "e",
    "openid_client": "e",
    "axios_auth_refresh": "h",
    "axios_auth_refresh_independent": "h",
    "google_node": "c",
    "google_node_force": "c",
    "ruby_oauth2": "b e",
}


def span(numbers):
    low, high = min(numbers), max(numbers)
    return f"{low:,}" if low == high else f"{low:,}–{high:,}"


def failures(run):
    return sum(count for answer, count in run["answers"].items() if answer != "200")


def is_silent(run):
    return "none" in run["answers"]


def requests(runs):
    return span([run["token_requests"] for run in runs])


def many(runs):
    failed = [failures(run) for run in runs]
    return requests(runs) + (f", {span(failed)} failed" if any(failed) else "")


def total(runs):
    return requests(runs) + (", then no answer in 30 s" if is_silent(runs[0]) else "")


def answer(runs):
    [answer] = runs[0]["answers"]
    return f"{answer}, {requests(runs)}"


def first(runs):
    return "200" if failures(runs[0]) == 0 else "fails"


def upload(runs):
    [run] = runs
    match run["answers"], run["uploads"]:
        case {"200": 1}, [size]:
            return "whole" if size == UPLOAD else f"200, {size:,} bytes"
        case {"401": 1}, []:
            return "401"
    raise ValueError(run)


def paced(runs):
    [run] = runs
    return f"**{failures(run):,}**, {requests(runs)}"


TABLES = {
    "concurrency": {
        "50 first callers": ("cold", many),
        "renewal due, 50 callers": ("due", many),
        "revoked, 1 caller": ("revoked", answer),
        "revoked, 50 callers": ("revoked_many", many),
        "12,000 requests, 11 revocations": ("paced", paced),
    },
    "failures": {
        "rejected for ever": ("rejecting", total),
        "wrong secret": ("wrong_secret", total),
        "one 503": ("one_failure", first),
        "503 for ever": ("outage", total),
        "1 MB, 401 at the end": ("upload_late", upload),
        "1 MB, 401 at once": ("upload_early", upload),
    },
}


def markdown(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def tables(found):
    for name, columns in TABLES.items():
        rows = []
        for peer, row in found.items():
            notes = f" <sup>{NOTES[peer]}</sup>" if peer in NOTES else ""
            rows.append([row["title"] + notes, *(show(row["cases"][case]) for case, show in columns.values())])
        yield name, markdown(["", *columns], rows)
    versions = []
    for row in found.values():
        used = ", ".join(f"{name} {version}" for name, version in row["versions"].items())
        versions.append([row["title"], used, f"{row['margin'] + 3:,} s", row["date"]])
    yield "versions", markdown(["", "versions", "life", "measured"], versions)


def main():
    found = json.loads((HERE / "results.json").read_text())
    old = page = PAGE.read_text()
    for name, table in tables(found):
        start, end = f"<!-- {name}: compare/table.py -->\n", f"<!-- end of {name} -->"
        before, found_start, rest = page.partition(start)
        _, found_end, after = rest.partition(end)
        if not (found_start and found_end):
            sys.exit(f"{PAGE.name} has no place for the table of {name}")
        page = f"{before}{start}{table}\n{end}{after}"
    if sys.argv[1:] == ["--check"]:
        if page != old:
            sys.exit(f"{PAGE.name} is not what compare/results.json says: run compare/table.py")
    else:
        PAGE.write_text(page)


if __name__ == "__main__":
    main()
