"""Tables and a cactus plot of `specdsl bench`, beside the other tools.

    specdsl bench INSTANCES.csv --isolate -o build/vnncomp.jsonl
    python -m benchmarks.vnncomp REFERENCE.csv build/vnncomp.jsonl [NAME=FILE.jsonl]...
        [--limit SECONDS] [--clock wall|cpu] [--page docs/vnncomp.md] [--plot docs/vnncomp.svg]

REFERENCE.csv holds what other tools did (`runs.read_references` says which columns). The first
results file is compared with them; further ones, under their names, with the first. An instance
counts as decided in at most `--limit` seconds by `--clock`, for all tools alike; the default is the
smallest limit that anyone was given. With `--page` the part of the page between its marks is made
anew. Ends with 1 where a verdict contradicts the table or another tool.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import fill

from benchmarks.vnncomp.cactus import draw
from benchmarks.vnncomp.runs import OwnRun, Rules, Run, read_references, read_run
from benchmarks.vnncomp.tables import family_table, late, reference_table, run_table
from tests.docs.pages import with_parts

PART = "vnncomp"
"""The mark of the part on the page."""

WIDTH = 110
"""Of a line of text on the page."""


def named_run(text: str) -> OwnRun:
    """`NAME=FILE`, or a file alone, which is `specdsl`."""
    name, equals, path = text.rpartition("=")
    return read_run(name if equals else "specdsl", Path(path))


def smallest_limit(runs: list[Run]) -> float:
    """That anyone was given for any instance."""
    return min(answer.limit for run in runs for answer in run.answers.values())


def parts(own: list[OwnRun], references: list[Run], rules: Rules) -> Iterator[str]:
    """The paragraphs of the page."""
    yield fill(
        f"Decided means: in at most {rules.limit:g} s of {rules.clock} time, for all tools alike. "
        "*Wrong* counts verdicts against the table's or another tool's, however late; *errors*, "
        "instances that could not be read or asked, and crashes.",
        WIDTH,
    )
    yield family_table(own[0], references, rules)
    yield fill(
        "Beside the other tools, on the instances that they were given as well; *both*: seconds "
        "of what both decide, *medians* of theirs and ours.",
        WIDTH,
    )
    yield reference_table(own[0], references, rules)
    if len(own) > 1:
        yield run_table(own, rules)


def main() -> int:
    """Print or write what is asked for; 1 where something is wrong."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("references", type=Path)
    parser.add_argument("runs", type=named_run, nargs="+", metavar="[NAME=]FILE.jsonl")
    parser.add_argument("--limit", type=float)
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall")
    parser.add_argument("--page", type=Path)
    parser.add_argument("--plot", type=Path)
    given = parser.parse_args()
    own, references = given.runs, read_references(given.references)
    limit = given.limit or smallest_limit([*own, *references])
    rules = Rules(limit, given.clock)
    text = "\n\n".join(parts(own, references, rules))
    if given.page is None:
        sys.stdout.write(f"{text}\n")
    else:
        page = given.page.read_text()
        given.page.write_text(with_parts(page, {PART: f"\n{text}\n\n"}))
    if given.plot is not None:
        draw(own, references, rules, given.plot)
    for line in late(own[0], rules):
        sys.stderr.write(f"late: {line}\n")
    wrong = [(run.name, *found) for run in own for found in run.wrong(references)]
    for name, key, who in wrong:
        sys.stderr.write(f"WRONG: {name} contradicts {who}: {' '.join(key)}\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
