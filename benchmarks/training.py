"""Certified training by every method, on MNIST's Small network: accuracies and seconds.

    python -m benchmarks.training DATA [-k METHOD,...] [--seeds 3] [--eps 0.1] [-o ROWS]

DATA holds the four files of MNIST. A run is added to ROWS, a file of JSON lines, as soon as it is
done; runs that are there are not made again, so that a table of hours may be made in pieces. The
table of all of ROWS goes to stdout. What is run and how it is judged: `trainings.py`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from benchmarks.trainings import (
    JUDGED,
    OFF,
    Recipe,
    cell,
    dense,
    judged,
    read_rows,
    trained,
    write_row,
)


def empirical(body: str) -> Recipe:
    """Of what is trained by points alone CROWN certifies next to nothing, and alpha-CROWN takes
    half an hour to say so.
    """
    return Recipe(body, tight=False)


def bounded(body: str) -> Recipe:
    """Begins with the weights of Shi et al. 2021."""
    return Recipe(body, init="ibp")


METHODS = {
    "standard": empirical(f"{OFF}  minimize clean_loss() + {JUDGED}"),
    "noise": empirical(f"{OFF}  minimize noisy_loss(1/4) + {JUDGED}"),
    "fgsm": empirical("method = fgsm(robust, r = eps)"),
    "madry": empirical("method = madry(robust, r = eps)"),
    "trades": empirical("method = trades(robust, r = eps)"),
    "friendly": empirical("method = friendly(robust, r = eps)"),
    "free": empirical("method = free(robust, r = eps)"),
    "xiao": empirical("method = xiao(robust, r = eps)"),
    # Rows of the convolutional network that walk back by Fast-Lin take half a minute an epoch.
    "mixtrain": Recipe(
        "method = mixtrain(robust, r = eps)", network=dense(100, 100), init="ibp", seeds=1
    ),
    # On the convolutional network an epoch takes minutes. Estimates make noisy gradients: 15 epochs
    # of the usual recipe reach 89 / 70 on training images left out.
    "wong_kolter": Recipe(
        "method = wong_kolter(robust, r = eps, projections = 50)",
        network=dense(100, 100),
        epochs=40,
        batch=50,
        rate=2e-3,
        seeds=1,
    ),
    "ibp": bounded("method = ibp(robust, r = eps)"),
    "crown_ibp": bounded("method = crown_ibp(robust, r = eps)"),
    "sabr": bounded("method = sabr(robust, r = eps)"),
    "mtl_ibp": bounded("method = mtl_ibp(robust, r = eps, alpha = 0.1)"),
    "cc_ibp": bounded("method = cc_ibp(robust, r = eps)"),
    # It leaves too many ReLUs unstable for alpha-CROWN to be quick.
    "exp_ibp": replace(bounded("method = exp_ibp(robust, r = eps)"), tight=False),
    "taps": bounded("method = taps(robust, r = eps, after = middle)"),
    "staps": bounded("method = staps(robust, r = eps, after = middle)"),
}
"""A method of the literature and how it is run."""

TO_REACH = {
    ("ibp", 0.1): "95.8 / 90 in 75",
    ("crown_ibp", 0.1): "95.9 / 90.8 in 230",
    ("mtl_ibp", 0.1): "96.8 / 89.8 in 185",
    ("sabr", 0.1): "96.9 / 90.2 in 165",
    ("ibp", 0.3): "89.7 / 76.4 in 50",
    ("wong_kolter", 0.1): "90 / 75 in 1800",
}
"""Clean and certified accuracy in CPU seconds. Those of bounds: what specialised libraries and
hand-written PyTorch reached with the same data, network and epochs.
"""


@dataclass(frozen=True, slots=True)
class Row:
    """One run. Accuracies in percent, CPU seconds of training, unstable ReLUs of a test image."""

    method: str
    eps: float
    seed: int
    clean: float
    adversarial: float
    certified: float
    unstable: float
    seconds: float


def run(method: str, data: Path, seed: int, eps: float) -> Row:
    """Train and judge one network."""
    recipe = METHODS[method]
    training = trained(recipe, data, seed, eps)
    found = judged(training, eps, tight=recipe.tight)
    return Row(method, eps, seed, **asdict(found), seconds=training.seconds)


def table(rows: Sequence[Row]) -> str:
    """A line a method: means over seeds, and deviations where there are several."""
    lines = [
        "| method | eps | seeds | clean | PGD-40 | certified | unstable ReLUs | CPU-s "
        "| to reach: clean / certified in CPU-s |",
        "|---" * 9 + "|",
    ]
    for (method, eps), own in _grouped(rows).items():
        digits = {"clean": 2, "adversarial": 2, "certified": 2, "unstable": 1, "seconds": 0}
        cells = [cell([getattr(row, name) for row in own], few) for name, few in digits.items()]
        goal = TO_REACH.get((method, eps), "")
        lines.append(f"| {method} | {eps} | {len(own)} | {' | '.join(cells)} | {goal} |")
    return "\n".join(lines)


def _grouped(rows: Sequence[Row]) -> dict[tuple[str, float], list[Row]]:
    """Rows by method and radius, small radii first, methods in the order above."""
    order = list(METHODS)
    found: dict[tuple[str, float], list[Row]] = {}
    for row in sorted(rows, key=lambda row: (row.eps, order.index(row.method), row.seed)):
        found.setdefault((row.method, row.eps), []).append(row)
    return found


def main() -> None:
    """Run what is asked for and not there yet; one seed of all methods before the next."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("data", type=Path)
    parser.add_argument("-k", "--methods", default=",".join(METHODS))
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--eps", type=float, default=0.1)
    parser.add_argument("-o", "--output", type=Path, default=Path("build/training.jsonl"))
    given = parser.parse_args()
    rows = [Row(**row) for row in read_rows(given.output)]
    done = {(row.method, row.eps, row.seed) for row in rows}
    for seed in range(given.seeds):
        for method in given.methods.split(","):
            if (method, given.eps, seed) in done or seed >= METHODS[method].seeds:
                continue
            row = run(method, given.data, seed, given.eps)
            rows.append(row)
            write_row(given.output, asdict(row))
    sys.stdout.write(table(rows) + "\n")


if __name__ == "__main__":
    main()
