"""Wrong verdicts, counted: all adversaries of tests/soundness against all methods.

    python -m benchmarks.soundness [-o build/soundness.jsonl] [--suite NAME]... [--every N]
        [--timeout 2] [--page docs/soundness.md] [--labelled build/vnncomp.jsonl]

Every trial is a row of the results file as soon as it is known, and is not run again by a later
run with the same `--timeout`, seconds for each question. `--every 10` takes a tenth of the
questions of each set. With `--page` the parts of the page between their marks are made anew, that
of labelled instances from a results file of `specdsl bench`. Ends with 1 where a verdict is wrong.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.soundness.running import chosen, run_all
from benchmarks.soundness.tables import family_table, labelled_table, method_table, suite_table
from tests.docs.pages import with_parts
from tests.soundness.trials import SUITES, all_trials


def main() -> int:
    """Run what is left to run, and print or write the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-o", "--output", type=Path, default=Path("build/soundness.jsonl"))
    parser.add_argument("--suite", action="append", default=[], choices=list(SUITES))
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--timeout", type=float, default=2.0)
    parser.add_argument("--page", type=Path)
    parser.add_argument("--labelled", type=Path, metavar="FILE.jsonl")
    given = parser.parse_args()
    trials = chosen(all_trials(), frozenset(given.suite), given.every)
    rows = run_all(trials, given.output, given.timeout)
    parts = {
        "suites": suite_table(rows),
        "families": family_table(rows),
        "methods": method_table(rows),
    }
    if given.labelled is not None:
        parts["labelled"] = labelled_table(given.labelled)
    if given.page is None:
        sys.stdout.write("\n\n".join(parts.values()) + "\n")
    else:
        page = given.page.read_text()
        texts = {name: f"\n{table}\n\n" for name, table in parts.items()}
        given.page.write_text(with_parts(page, texts))
    return 1 if any(row.objection is not None for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
