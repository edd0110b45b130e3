"""Certified training by every method, on MNIST's Small network: accuracies and seconds.

    python -m benchmarks.training DATA [-k METHOD,...] [--seeds 3] [--epochs 15] [--eps 0.1] [-o F]

DATA holds the four files of MNIST. Every run is the script that `specdsl train` would run, in this
process; its CPU seconds are those of `train()` alone. Certified accuracy is by the cascade of
`specdsl.training.certify`, adversarial accuracy by 40 steps of PGD. Weights are selected by
nothing: all are those after the last epoch. Rows go to F as JSON lines, the table to stdout.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from statistics import mean, stdev
from types import ModuleType

import torch

from specdsl.api import load
from specdsl.training.emit.given import given_for
from specdsl.training.emit.script import script
from specdsl.training.plan.resolve import plans_of
from specdsl.training.runtime.prune_relus import unstable_neurons

SPEC = """spec 1.0
param eps: real = {eps}
space Image {{ pixels: real[1, 28, 28] in [0, 1] }}
{network}
dataset digits: (Image, label[10]) = idx(
  "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"
) {{ scale = 1/255 }}
dataset unseen: (Image, label[10]) = idx(
  "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"
) {{ scale = 1/255 }}
region around(x, r) = norm_ball(x, r, linf) & box(0, 1)
property robust(x, y, r) = forall z in around(x, r): argmax(net(z)) == y
train net on digits {{
  epochs = {epochs}  batch = 128  seed = {seed}  threads = 1
  optimizer = adam(lr = steps(5e-3, 1e-3 for e in {first}..{second}, 2e-4 for e in {third}..{last}))
  clip = 10
  init = {init}
  {body}
}}
check forall (x, y) in unseen[0:1]: robust(x, y, eps)
"""

SMALL = """network net: Image -> real[10] {
  layer conv(16, kernel = 4, stride = 2, padding = 1)
  layer relu
  layer conv(32, kernel = 4, stride = 2, padding = 1)
  layer middle = relu
  layer flatten
  layer dense(100)
  layer relu
  layer dense(10)
}"""
DENSE = """network net: Image -> real[10] {
  layer flatten
  layer dense(100)
  layer relu
  layer dense(100)
  layer relu
  layer dense(10)
}"""
# A property that weighs nothing, and so is not computed: what the network is judged by.
OFF = "let off = steps(0)\n"
JUDGED = "off * certified_loss(robust, r = eps)"
METHODS = {
    "standard": f"{OFF}  minimize clean_loss() + {JUDGED}",
    "fgsm": "method = fgsm(robust, r = eps)",
    "madry": "method = madry(robust, r = eps)",
    "trades": "method = trades(robust, r = eps)",
    "friendly": "method = friendly(robust, r = eps)",
    "free": "method = free(robust, r = eps)",
    "noise": f"{OFF}  minimize noisy_loss(1/4) + {JUDGED}",
    "ibp": "method = ibp(robust, r = eps)",
    "crown_ibp": "method = crown_ibp(robust, r = eps)",
    "sabr": "method = sabr(robust, r = eps)",
    "mtl_ibp": "method = mtl_ibp(robust, r = eps, alpha = 0.1)",
    "cc_ibp": "method = cc_ibp(robust, r = eps)",
    "exp_ibp": "method = exp_ibp(robust, r = eps)",
    "taps": "method = taps(robust, r = eps, after = middle)",
    "staps": "method = staps(robust, r = eps, after = middle)",
    "mixtrain": "method = mixtrain(robust, r = eps)",
    "wong_kolter": "method = wong_kolter(robust, r = eps, projections = 50)",
    "xiao": "method = xiao(robust, r = eps)",
}
"""A method of the literature and the line that asks for it."""
NETWORKS = {"wong_kolter": DENSE}
"""Methods that would take hours on the convolutional network."""
BOUNDED = {"ibp", "crown_ibp", "sabr", "mtl_ibp", "cc_ibp", "exp_ibp", "taps", "staps"}
"""Methods that begin with the weights of Shi et al. 2021."""


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


def run(method: str, data: Path, seed: int, epochs: int, eps: float) -> Row:
    """Train and judge one network."""
    with tempfile.TemporaryDirectory() as folder:
        module = _script(method, data, Path(folder), (seed, epochs, eps))
        began = time.process_time()
        net = module.train(Path(folder) / "net", torch.device("cpu"))
        seconds = time.process_time() - began
        test = module.parts()["test"]
        found = module.evaluate(net, test)
        claim = module.robust(test.inputs, test.labels, r=eps)
    with torch.no_grad():
        unstable = float(unstable_neurons(net.compiled(), claim.region).float().mean())

    def percent(count: int) -> float:
        return 100 * count / found.count

    return Row(
        method,
        eps,
        seed,
        percent(found.clean),
        percent(found.adversarial),
        percent(found.certified),
        unstable,
        seconds,
    )


def _script(method: str, data: Path, folder: Path, sizes: tuple[int, int, float]) -> ModuleType:
    seed, epochs, eps = sizes
    first, third = round(epochs * 11 / 15), round(epochs * 13 / 15)
    path = folder / "training.spec"
    for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        (folder / f"{name}-ubyte.gz").symlink_to((data / f"{name}-ubyte.gz").resolve())
    numbers = {"seed": seed, "epochs": epochs, "eps": eps, "first": first, "second": third - 1}
    numbers |= {"third": third, "last": epochs - 1}
    init = "ibp" if method in BOUNDED else "default"
    path.write_text(
        SPEC.format(
            body=METHODS[method],
            init=init,
            network=NETWORKS.get(method, SMALL),
            **numbers,
        )
    )
    spec = load(path, allow=[data.resolve()]).combinations[0].spec
    (plan,) = plans_of(spec)
    text = folder / "script.py"
    text.write_text(script(plan, given_for(plan, spec, folder)))
    found = spec_from_file_location("script", text)
    assert found is not None
    assert found.loader is not None
    module = module_from_spec(found)
    sys.modules["script"] = module
    found.loader.exec_module(module)
    return module


def table(rows: list[Row]) -> str:
    """A line a method: means over seeds, and deviations where there are several."""
    lines = ["| method | eps | clean | PGD-40 | certified | unstable ReLUs | CPU-s |"]
    lines.append("|---|---|---|---|---|---|---|")
    for method in dict.fromkeys(row.method for row in rows):
        own = [row for row in rows if row.method == method]
        cells = [
            _cell([getattr(row, name) for row in own], digits)
            for name, digits in (
                ("clean", 2),
                ("adversarial", 2),
                ("certified", 2),
                ("unstable", 1),
                ("seconds", 0),
            )
        ]
        lines.append(f"| {method} | {own[0].eps} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(values: list[float], digits: int) -> str:
    text = f"{mean(values):.{digits}f}"
    return text if len(values) == 1 else f"{text} ± {stdev(values):.{digits}f}"


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("data", type=Path)
    parser.add_argument("-k", "--methods", default=",".join(METHODS))
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--eps", type=float, default=0.1)
    parser.add_argument("-o", "--output", type=Path, default=Path("build/training.jsonl"))
    given = parser.parse_args()
    given.output.parent.mkdir(parents=True, exist_ok=True)
    rows: list[Row] = []
    for method in given.methods.split(","):
        for seed in range(given.seeds):
            row = run(method, given.data, seed, given.epochs, given.eps)
            rows.append(row)
            with given.output.open("a") as file:
                file.write(json.dumps(asdict(row)) + "\n")
            sys.stderr.write(f"{row}\n")
    sys.stdout.write(table(rows) + "\n")


if __name__ == "__main__":
    main()
