"""Where the time of one VNN-COMP instance goes.

    python -m benchmarks.profile_instance INSTANCES.csv -k 'oval21 and wide' [--timeout 60]
        [--using BACKEND] [--sort cumulative|tottime] [--lines 40] [--warm] [-o FILE.pstats]

Decides the first row that matches under cProfile, which slows Python code down and leaves kernels
alone: where calls are many and short their share is overstated. The libraries are loaded before the
clock starts; with `--warm` the row is decided once before as well. FILE.pstats is for other
viewers.
"""

from __future__ import annotations

import argparse
import cProfile
import io
import pstats
import sys
from pathlib import Path

import torch

from specdsl.backends.registry import create
from specdsl.run.instances.outcome import Instance, Outcome
from specdsl.run.instances.solving import Networks, solve_row
from specdsl.run.instances.tables import read_instances
from specdsl.run.selection import parse_selection


def find_row(instances: Path, selection: str) -> Instance:
    """The first row that matches. Raises SystemExit where none does."""
    chosen = parse_selection(selection)
    row = next((r for r in read_instances(instances) if chosen.matches(" ".join(r.key))), None)
    if row is None:
        raise SystemExit(f"no row of {instances} matches {selection}")
    return row


def profile(
    row: Instance, using: str, timeout: float, *, warm: bool
) -> tuple[Outcome, cProfile.Profile]:
    """Decide the row under the profiler."""
    backend, networks = create(using, {}), Networks()
    if warm:
        solve_row(row, backend, timeout, networks)
    profiler = cProfile.Profile()
    outcome = profiler.runcall(solve_row, row, backend, timeout, networks)
    return outcome, profiler


def report(
    row: Instance, outcome: Outcome, profiler: cProfile.Profile, sort: str, lines: int
) -> str:
    """The verdict, the parts that the run itself measured, and the dearest functions."""
    text = io.StringIO()
    text.write(f"{' '.join(row.key)}: {outcome.verdict}, {outcome.seconds:.2f} s\n")
    if outcome.reason:
        text.write(f"{outcome.reason}\n")
    for name, value in outcome.statistics.items():
        text.write(f"{name:>20} {value:.6g}\n")
    pstats.Stats(profiler, stream=text).sort_stats(sort).print_stats(lines)
    root = str(Path(__file__).parents[1])
    return text.getvalue().replace(f"{root}/", "")


def main() -> None:
    """Print the profile of what is asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("instances", type=Path)
    parser.add_argument("-k", dest="selection", required=True)
    parser.add_argument("--timeout", type=float, default=60.0)
    parser.add_argument("--using", default="portfolio")
    parser.add_argument("--sort", choices=["cumulative", "tottime"], default="cumulative")
    parser.add_argument("--lines", type=int, default=40)
    parser.add_argument("--warm", action="store_true")
    parser.add_argument("-o", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    row = find_row(given.instances, given.selection)
    outcome, profiler = profile(row, given.using, given.timeout, warm=given.warm)
    sys.stdout.write(report(row, outcome, profiler, given.sort, given.lines))
    if given.o is not None:
        profiler.dump_stats(given.o)


if __name__ == "__main__":
    main()
