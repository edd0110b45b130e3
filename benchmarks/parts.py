"""What a part of a neuron's split costs, by the size of the network.

    python -m benchmarks.parts INSTANCES.csv -k 'mnist_fc or oval21' [--seconds 5]

For each network, the first matching row that some hundred parts do not settle: the tree of
`search(split = neuron)` grows on CROWN's bounds for so many processor seconds, after the root, and
until it has some hundred parts.
Its parts a second stand beside the multiplications and additions that one point takes, for which a
part walks back and forth some tens of times.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from specdsl.backend import FOREVER
from specdsl.backends.prepared import Prepared
from specdsl.backends.search.confirming import Confirmer
from specdsl.backends.search.neurons.bounding import Bounder
from specdsl.backends.search.neurons.branching import Chooser
from specdsl.backends.search.neurons.parts import whole
from specdsl.backends.search.neurons.tree import Tree
from specdsl.backends.search.options import SearchOptions
from specdsl.backends.search.problem import Problem, Progress
from specdsl.certificates.part_records import PartRecord
from specdsl.evidence import Replayer
from specdsl.files import read_bytes
from specdsl.graph.work import work
from specdsl.query.vnnlib.read import read_query
from specdsl.run.instances.outcome import Instance
from specdsl.run.instances.solving import Networks
from specdsl.run.instances.tables import read_instances
from specdsl.run.selection import parse_selection

# Fewer are over before batches are full.
LEAST_PARTS = 200


@dataclass(frozen=True, slots=True)
class Cost:
    """Of the parts of one tree. `multiplications`: of one point, with the additions; `unstable`:
    entries; `atoms`: margins bounded on each part.
    """

    network: str
    multiplications: int
    unstable: int
    atoms: int
    parts: int
    seconds: float

    @property
    def line(self) -> str:
        """A row of the table."""
        rate = self.parts / self.seconds
        each = 1e9 / (rate * self.atoms * self.multiplications)
        return (
            f"| {self.network} | {self.multiplications / 1e6:.2f} | {self.unstable} | {self.atoms} "
            f"| {self.parts} | {self.seconds:.1f} | {rate:.0f} | {each:.2f} |"
        )


@torch.no_grad()
def cost(row: Instance, seconds: float, networks: Networks) -> Cost | None:
    """Grow the tree of a row's first group; None where nothing is left to split."""
    query = read_query(read_bytes(row.query), networks.load(row.network), row.query.name)
    prepared = Prepared(query)
    group = prepared.groups[0]
    slack = prepared.slack(group, FOREVER)
    problem = Problem(prepared, group, slack, SearchOptions(tighten=False))
    bounder = Bounder.of(problem, FOREVER, Progress())
    tree = Tree(bounder, Confirmer(Replayer(query)), FOREVER, Progress(), Chooser("auto"))
    cases, atoms = bounder.rows.shape[:2]
    records = [PartRecord() for _ in range(cases)]
    if tree.plant(whole(cases, atoms, prepared.like), records) or not tree.waiting:
        return None
    planted, start = tree.bounded, time.process_time()
    while tree.waiting and (
        time.process_time() - start < seconds or tree.bounded - planted < LEAST_PARTS
    ):
        if tree.split():
            break
    spent, parts = time.process_time() - start, tree.bounded - planted
    unstable, size = prepared.unstable(group), work(prepared.simplified)
    name = f"{row.benchmark} {row.network.name.removesuffix('.gz').removesuffix('.onnx')}"
    return Cost(name, size, unstable, atoms, parts, spent)


def costs(rows: Iterator[Instance], seconds: float) -> Iterator[Cost]:
    """Of each network once."""
    networks, done = Networks(), set[str]()
    for row in rows:
        found = None if row.onnx in done else cost(row, seconds, networks)
        if found is not None and found.parts >= LEAST_PARTS:
            done.add(row.onnx)
            yield found


def main() -> None:
    """Print the table, the smallest network first."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("instances", type=Path)
    parser.add_argument("-k", dest="selection", required=True)
    parser.add_argument("--seconds", type=float, default=5.0)
    given = parser.parse_args()
    torch.set_num_threads(1)
    chosen = parse_selection(given.selection)
    rows = (r for r in read_instances(given.instances) if chosen.matches(" ".join(r.key)))
    found = sorted(costs(rows, given.seconds), key=lambda each: each.multiplications)
    header = "network | million operations | unstable | margins | parts | CPU-s | parts a second"
    lines = [f"| {header} | ns an operation and margin |", f"|{' --- |' * 8}"]
    sys.stdout.write("\n".join([*lines, *(each.line for each in found), ""]))


if __name__ == "__main__":
    main()
