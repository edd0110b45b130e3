"""What a box costs in the search by input splitting, against the size of the network.

    python -m benchmarks.domains INSTANCES.csv [-k 'acasxu or tllverifybench'] [--timeout 20]
        [--batch 128] [--each]

Searches every row that matches, without the preparation of the graph, and prints a line for each
network, or each row with `--each`: inputs that vary, neurons, boxes bounded, processor seconds and
boxes a second, and how many rows were decided. The time limit is that of the wall clock.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from specdsl.backend import FOREVER, Deadline, OutOfTime
from specdsl.backends.prepared import Prepared
from specdsl.backends.search.confirming import Confirmer
from specdsl.backends.search.inputs.search import search_inputs
from specdsl.backends.search.options import SearchOptions
from specdsl.backends.search.problem import Problem, Progress
from specdsl.evidence import Replayer
from specdsl.files import read_bytes
from specdsl.query.vnnlib.read import read_query
from specdsl.run.instances.outcome import Instance
from specdsl.run.instances.solving import Networks
from specdsl.run.instances.tables import read_instances
from specdsl.run.selection import parse_selection


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one search or of several on one network: `decided` of `rows`."""

    network: str
    inputs: int
    neurons: int
    domains: int = 0
    seconds: float = 0.0
    decided: int = 0
    rows: int = 1

    def plus(self, other: Cost) -> Cost:
        """Both together."""
        return replace(
            self,
            domains=self.domains + other.domains,
            seconds=self.seconds + other.seconds,
            decided=self.decided + other.decided,
            rows=self.rows + other.rows,
        )

    def line(self) -> str:
        """A row of a Markdown table."""
        rate = self.domains / self.seconds if self.seconds else 0.0
        return (
            f"| {self.network} | {self.inputs} | {self.neurons} | {self.domains} "
            f"| {self.seconds:.2f} | {rate:.0f} | {self.decided} of {self.rows} |"
        )


def costs(row: Instance, timeout: float, batch: int, networks: Networks) -> Iterator[Cost]:
    """The search of each group of cases of a row, up to the first that is not refuted."""
    query = read_query(read_bytes(row.query), networks.load(row.network), row.query.name)
    prepared, options = Prepared(query), SearchOptions(batch=batch)
    graph = prepared.simplified
    neurons = sum(graph.size(node) for node in prepared.compiled.rules)
    confirmer = Confirmer(Replayer(query))
    for group in prepared.groups:
        inputs = group.inputs
        problem = Problem(prepared, group, prepared.slack(group, FOREVER), options)
        progress, start = Progress(), time.process_time()
        outcome = _outcome(problem, confirmer, Deadline.after(timeout), progress)
        seconds = time.process_time() - start
        varying = int((inputs.box.lower < inputs.box.upper).sum())
        decided = int(outcome in {"verified", "falsified"})
        yield Cost(row.network.name, varying, neurons, progress.domains, seconds, decided)
        if outcome != "verified":
            return


def _outcome(problem: Problem, confirmer: Confirmer, deadline: Deadline, progress: Progress) -> str:
    search = search_inputs(problem, confirmer, deadline, progress)
    try:
        while True:
            next(search)
    except StopIteration as stopped:
        return stopped.value
    except OutOfTime:
        return "timeout"


def main() -> None:
    """Print a table of what is asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("instances", type=Path)
    parser.add_argument("-k", dest="selection", default="acasxu or tllverifybench or cgan")
    parser.add_argument("--timeout", type=float, default=20.0)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--each", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(1)
    chosen, networks = parse_selection(given.selection), Networks()
    table: dict[str, Cost] = {}
    for row in read_instances(given.instances):
        if not chosen.matches(" ".join(row.key)):
            continue
        name = " ".join(row.key) if given.each else row.onnx
        for cost in costs(row, given.timeout, given.batch, networks):
            table[name] = table[name].plus(cost) if name in table else cost
    sys.stdout.write(
        "| network | inputs | neurons | boxes | CPU-s | boxes a second | searches decided |\n"
    )
    sys.stdout.write("|---|---|---|---|---|---|---|\n")
    for cost in table.values():
        sys.stdout.write(cost.line() + "\n")


if __name__ == "__main__":
    main()
