"""What each technique of the search is worth: instances decided, and seconds, without it.

    specdsl bench INSTANCES.csv --isolate -o build/vnncomp.jsonl
    python -m benchmarks.ablation INSTANCES.csv build/vnncomp.jsonl build/ablation
        [--only NAME,NAME] [--timeout 60] [--jobs 2] [--page docs/vnncomp.md]

Decides again what a run of `bench` decided, once with everything and once without each technique,
where that had a part in the answer. Each runs in one process, `--jobs` of them at a time, and
leaves its results in build/ablation, where a run that was stopped goes on; seconds are of the
processor.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.ablation.deciding import deciding_methods, run_all
from benchmarks.ablation.table import PART, ablation_table
from benchmarks.ablation.techniques import ALL, TECHNIQUES
from benchmarks.vnncomp.runs import read_run
from specdsl.run.instances.tables import read_instances
from tests.docs.pages import with_parts


def main() -> None:
    """Run what is left to run, and print or write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("instances", type=Path)
    parser.add_argument("results", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only")
    parser.add_argument("--timeout", type=float, default=60.0)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--page", type=Path)
    given = parser.parse_args()
    methods = deciding_methods(given.results)
    names = None if given.only is None else given.only.split(",")
    chosen = [t for t in TECHNIQUES if names is None or t.name in names]
    rows = {row.key: row for row in read_instances(given.instances)}
    run_all(rows, methods, [ALL, *chosen], given.folder, timeout=given.timeout, jobs=given.jobs)
    runs = {t: read_run(t.name, given.folder / f"{t.name}.jsonl") for t in [ALL, *chosen]}
    table = ablation_table(runs, given.timeout)
    if given.page is None:
        sys.stdout.write(f"{table}\n")
    else:
        given.page.write_text(with_parts(given.page.read_text(), {PART: f"\n{table}\n\n"}))


if __name__ == "__main__":
    main()
