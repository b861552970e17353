"""Fails where a phrase of `.ci/phrases.txt` is written."""
import re
import subprocess
import sys
from pathlib import Path

# Between two words of a comment or of a text: white space, and a comment mark after the end of a line.
SPACE = r"(?:[ \t]+|[ \t]*\n[ \t]*(?:(?://[/!]?|#)[ \t]*)?)"


def compiled(expression):
    return re.compile(expression.replace(" ", SPACE), re.IGNORECASE)


found = 0
for rule in Path(".ci/phrases.txt").read_text().splitlines():
    if not rule or rule.startswith("#"):
        continue
    where, phrase, instead, *allowed = rule.split(" | ")
    for name in subprocess.check_output(["git", "ls-files", *where.split()], text=True).splitlines():
        path = Path(name)
        if path.suffix not in {".rs", ".md"} or not path.exists():
            continue
        text = path.read_text()
        spans = [match.span() for each in allowed for match in compiled(each).finditer(text)]
        for match in compiled(phrase).finditer(text):
            if not any(start <= match.start() and match.end() <= end for start, end in spans):
                line = text.count("\n", 0, match.start()) + 1
                print(f'{path}:{line}: "{" ".join(match.group().split())}"; write {instead}')
                found += 1
sys.exit(found > 0)
