"""What the two regularisers of tightness do to a relaxation, on scikit-learn's digits.

    python -m benchmarks.tightness [--seeds 3] [-o ROWS]

A network 64-32-10 is trained by CROWN on intervals at radius 0.1 with nothing more, with the gap d
between the bound and the margin at the point where it is attained, and with the gap r of the
activations there (Zhu et al. 2020, arXiv:2002.09766). Measured on 500 images that are not trained
on: both gaps, of CROWN on intervals. Seconds are CPU seconds of training. Rows that are in ROWS are
not made again.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from benchmarks.trainings import cell, read_rows, script_of, write_row
from specdsl.data import read_sklearn
from specdsl.training.certify.cascade import CASCADE, certify
from specdsl.training.runtime.loop.data import samples
from specdsl.training.runtime.regularisers.claims import gap, unstable

EPS = 0.1
TRAINED, COUNT = 1200, 500
SPEC = """spec 1.0
param eps: real = {eps}
space Image {{ pixels: real[64] in [0, 1] }}
network net: Image -> real[10] {{
  layer dense(32)
  layer relu
  layer dense(10)
}}
dataset digits: (Image, label[10]) = sklearn("digits") {{ scale = 1/16 }}
property robust(x, y, r) = forall z in norm_ball(x, r, linf) & Image: argmax(net(z)) == y
train net on digits[0:{trained}] {{
  epochs = 60  batch = 100  seed = {seed}  threads = 1  clip = 10
  optimizer = adam(lr = steps(5e-3, 1e-3 for e in 44..51, 2e-4 for e in 52..59))
  let r = ramp(0, eps, epochs = 1..30, shape = smooth)
  let kappa = 1 - r / eps
  minimize kappa * clean_loss() + (1 - kappa) * certified_loss(robust, r = r, by = crown_ibp)
  {regularize}
}}
check forall (x, y) in digits[1200:1201]: robust(x, y, eps)
"""
WEIGHTS = {"d": (0.1, 0.5), "r": (1.0, 5.0)}


@dataclass(frozen=True, slots=True)
class Row:
    """One run. Accuracies in percent; means of the gaps over images, classes and, of r, neurons;
    `unstable`: ReLUs of an image.
    """

    measure: str
    weight: float
    seed: int
    clean: float
    certified: float
    d: float
    r: float
    unstable: float
    seconds: float


def run(measure: str, weight: float, seed: int) -> Row:
    """Train and measure one network."""
    term = f"regularize {weight} * tightness(robust, r = r, measure = {measure})"
    with tempfile.TemporaryDirectory() as folder:
        text = SPEC.format(
            eps=EPS, trained=TRAINED, seed=seed, regularize=term if measure != "none" else ""
        )
        module = script_of(text, Path(folder), Path(folder))
        began = time.process_time()
        net = module.train(Path(folder) / "net", torch.device("cpu"))
        seconds = time.process_time() - began
    test = samples(read_sklearn("digits"), scale=1 / 16, shape=(64,))[TRAINED : TRAINED + COUNT]
    found = certify(net, test, module.judged, cascade=CASCADE)
    assert found.clean is not None, "the images have labels"
    claim = module.robust(test.inputs, test.labels, r=EPS)
    with torch.no_grad():
        d, r = gap(net, claim, "outputs"), gap(net, claim, "pre_activations")
    return Row(
        measure,
        weight,
        seed,
        100 * found.clean / found.count,
        100 * found.certified / found.count,
        d.item(),
        r.item(),
        unstable(net, claim),
        seconds,
    )


def table(rows: Sequence[Row]) -> str:
    """A line a regulariser and weight."""
    lines = [
        "| regulariser | weight | seeds | clean | certified | d | r | unstable ReLUs | CPU-s |",
        "|---" * 9 + "|",
    ]
    groups: dict[tuple[str, float], list[Row]] = {}
    for found in rows:
        groups.setdefault((found.measure, found.weight), []).append(found)
    digits = {"clean": 1, "certified": 1, "d": 4, "r": 5, "unstable": 2, "seconds": 0}
    for (measure, weight), own in groups.items():
        cells = [cell([getattr(found, name) for found in own], few) for name, few in digits.items()]
        lines.append(f"| {measure} | {weight:g} | {len(own)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Make the rows that are not there yet, and print all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("-o", "--output", type=Path, default=Path("build/tightness.jsonl"))
    given = parser.parse_args()
    rows = [Row(**found) for found in read_rows(given.output)]
    done = {(found.measure, found.weight, found.seed) for found in rows}
    cases = [("none", 0.0), *((name, w) for name, weights in WEIGHTS.items() for w in weights)]
    for measure, weight in cases:
        for seed in range(given.seeds):
            if (measure, weight, seed) not in done:
                rows.append(run(measure, weight, seed))
                write_row(given.output, asdict(rows[-1]))
    sys.stdout.write(table(rows) + "\n")


if __name__ == "__main__":
    main()
