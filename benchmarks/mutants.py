"""How many small mistakes, put into the modules that verdicts rest on, their tests find.

    python -m benchmarks.mutants [--sample 300] [--seed 0] [--only 'specdsl.proof.*'] [--jobs 1]
        [-o build/mutants.json]

mutmut (the extra `mutants`) makes the mutants, finds out which tests reach each, and runs these.
A sample of them is drawn, which is the same for the same seed and the same code; with `--sample 0`
all are run, which takes days. Printed: for each module and for all of them together how many were
found (by a failed test, or by one that took far too long), how many lived, and the names of these;
`mutmut show NAME` prints one. Which modules and tests: `[tool.mutmut]` in pyproject.toml.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatch
from math import sqrt
from pathlib import Path
from random import Random

MADE = Path("mutants")
FIRST = "specdsl.proof.refusal.x_require__mutmut_1"
"""Any one: before it is run, all are made, and tests are timed."""

WORDS = {0: "lived", 1: "found", 3: "found", 33: "no test", 36: "found", 24: "found", -24: "found"}
"""What mutmut's exit codes mean; of a mutant that runs out of time it is a signal's."""


def main() -> int:
    """Make, draw, run, and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sample", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="*")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("-o", "--output", type=Path, default=Path("build/mutants.json"))
    given = parser.parse_args()
    if not read_results():
        mutmut([FIRST], given.jobs)
    names = sorted(name for name in read_results() if fnmatch(name, given.only))
    if given.sample and given.sample < len(names):
        names = sorted(Random(given.seed).sample(names, given.sample))
    mutmut(names, given.jobs)
    results = read_results()
    found = {name: WORDS.get(results[name] or 0, "crashed") for name in names}
    given.output.parent.mkdir(parents=True, exist_ok=True)
    given.output.write_text(json.dumps(found, indent=1) + "\n")
    sys.stdout.write(table(found))
    return 0


def mutmut(names: Sequence[str], jobs: int) -> None:
    """Run tests on these mutants; raises CalledProcessError where that cannot be."""
    command = [sys.executable, "-m", "mutmut", "run", "--max-children", str(jobs), *names]
    subprocess.run(command, check=True, stdout=sys.stderr)


def read_results() -> dict[str, int | None]:
    """Exit codes by name, None of those not yet run."""
    found: dict[str, int | None] = {}
    for path in MADE.rglob("*.meta"):
        found |= json.loads(path.read_text())["exit_code_by_key"]
    return found


def table(found: Mapping[str, str]) -> str:
    """By module, and the names of those that lived."""
    modules = sorted({_module(name) for name in found})
    lines = ["| module | mutants | found | share |", "|---|---|---|---|"]
    for module in modules:
        lines.append(_line(f"`{module}`", (w for n, w in found.items() if _module(n) == module)))
    lines.append(_line("**all**", found.values()))
    lived = [name for name, word in found.items() if word != "found"]
    return "\n".join([*lines, "", *(f"{found[name]}: {name}" for name in lived)]) + "\n"


def _line(title: str, words: Iterable[str]) -> str:
    counts = Counter(words)
    count, found = counts.total(), counts["found"]
    share = found / count
    # Of a sample: twice the standard deviation.
    off = 2 * sqrt(share * (1 - share) / count)
    return f"| {title} | {count} | {found} | {100 * share:.0f} % (± {100 * off:.0f}) |"


def _module(name: str) -> str:
    """`specdsl.proof.parts` of `specdsl.proof.parts.xǁPartsǁcheck__mutmut_1`."""
    return name.rsplit(".", 1)[0]


if __name__ == "__main__":
    sys.exit(main())
