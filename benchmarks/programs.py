"""What linear programs of a larger MNIST network cost: to build, to hand over, to solve again.

    python -m benchmarks.programs DATA [--images 5] [--eps 0.03] [-o build/programs]

DATA holds the four files of MNIST. A network of two hidden layers of 100 is trained as usual and
kept in the folder of `-o`. For each of the first images whose class has to be proven, printed in
seconds by the clock: the model and its hand-over to HiGHS, for each 100,000 nonzeros; the cases
after the first, on the same model; LP-All, which solves two programs for every unstable neuron, in
as many threads as there are cores. At the end the most memory that was held.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch

from benchmarks.relaxations.networks import MNIST, network
from specdsl.backend import FOREVER, Deadline
from specdsl.backends.registry import create
from specdsl.data.idx import read_array
from specdsl.encoding.cases import encoded_groups
from specdsl.encoding.deciding.group_program import GroupProgram
from specdsl.encoding.solvers.highs import HighsSession, handed_over
from specdsl.encoding.tightening.multi_neuron import Pool
from specdsl.graph import ops
from specdsl.graph.graph import Graph, GraphBuilder
from specdsl.query.query import Atom, Case, Query, Variable
from specdsl.query.sets import Box, exact

PIXELS, CLASSES = 784, 10
SECONDS = 600.0
GIB = 2**20
"""KiB, which peaks are counted in."""


def main() -> int:
    """Train, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--images", type=int, default=5)
    parser.add_argument("--eps", type=Fraction, default=Fraction(3, 100))
    parser.add_argument("-o", "--output", type=Path, default=Path("build/programs"))
    given = parser.parse_args()
    setting = replace(MNIST, name="MNIST, 784-100-100-10", key="mnist_100", hidden=(100, 100))
    net = network(setting, "normal", given.data, given.output)
    for number, query in enumerate(queries(net, given.data, given.eps)):
        if number == given.images:
            break
        sys.stdout.write(f"{query.name}: {measured(query)}\n")
        sys.stdout.flush()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / GIB
    sys.stdout.write(f"most memory: {peak:.2f} GiB\n")
    return 0


def queries(net: torch.nn.Module, data: Path, eps: Fraction) -> Iterator[Query]:
    """Whether the class stays the same within `eps` of each test image that is classified well."""
    images = read_array(data / "t10k-images-idx3-ubyte.gz").reshape(-1, PIXELS)
    labels = read_array(data / "t10k-labels-idx1-ubyte.gz")
    for number, (pixels, label) in enumerate(zip(images, labels, strict=True)):
        x = torch.as_tensor(pixels.astype(np.float32) / 255).reshape(1, 1, 28, 28)
        with torch.no_grad():
            if int(net(x).argmax()) != label:
                continue
        center = [Fraction(int(p), 255) for p in pixels]
        lower = np.array([max(c - eps, Fraction(0)) for c in center], dtype=object)
        upper = np.array([min(c + eps, Fraction(1)) for c in center], dtype=object)
        graph = margins(net, int(label))
        inputs = Box(exact(lower), exact(upper))
        cases = tuple(Case(inputs, (Atom(i),)) for i in range(CLASSES - 1))
        variables = (Variable.at("x", 0, (PIXELS,)),)
        yield Query(f"image {number}", graph, cases, variables, ())


def margins(net: torch.nn.Module, label: int) -> Graph:
    """How much more the network says for the label than for each other class."""
    builder = GraphBuilder()
    node = builder.add(ops.Input((PIXELS,)), name="x")
    for layer in net.modules():
        if isinstance(layer, torch.nn.Linear):
            weight, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()
            node = builder.add(ops.Dense(weight, bias), node)
        elif isinstance(layer, torch.nn.ReLU):
            node = builder.add(ops.Relu(), node)
    others = [c for c in range(CLASSES) if c != label]
    difference = np.zeros((CLASSES - 1, CLASSES))
    difference[:, label] = 1
    difference[np.arange(CLASSES - 1), others] -= 1
    return builder.build(builder.add(ops.Dense(difference, np.zeros(CLASSES - 1)), node))


def measured(query: Query) -> str:
    """Seconds of the model, of cases on it, and of LP-All."""
    began = time.perf_counter()
    (group,) = encoded_groups(query)
    assert group.encoded is not None
    atoms = [case.atoms for case in query.cases]
    bounded = time.perf_counter()
    program = GroupProgram(group.encoded, Pool(), atoms, "case", HighsSession, relax=True)
    handed_over(program.model)
    built = time.perf_counter() - bounded
    size = program.model.terms.rows.size
    each: list[float] = []
    for case in atoms:
        start = time.perf_counter()
        program.turn_to(case)
        program.session.solve(FOREVER)
        each.append(time.perf_counter() - start)
    start = time.perf_counter()
    answer = create("lp", {"bounds": "all"}).answer(query, Deadline.after(SECONDS))
    return (
        f"bounds and rows {bounded - began:.3f} s, {size} nonzeros handed over in {built:.3f} s "
        f"({built / size * 1e5:.3f} s per 100,000), first case {each[0]:.3f} s, "
        f"others {np.mean(each[1:]):.3f} s; "
        f"LP-All {time.perf_counter() - start:.1f} s, {type(answer.verdict).__name__}"
    )


if __name__ == "__main__":
    sys.exit(main())
