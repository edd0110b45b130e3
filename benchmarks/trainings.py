"""What benchmarks of training share: MNIST's networks, a training by its text, how it is judged.

Every training is the script that `specdsl train` would run, in this process; its seconds are the
CPU seconds of the process in `train()` alone. Certified accuracy is by the cascade of
`specdsl.training.certify`, adversarial accuracy by 40 steps of PGD. Weights are selected by
nothing: all are those after the last epoch.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from statistics import mean, stdev
from types import ModuleType
from typing import Any

import torch

from specdsl.api import load
from specdsl.data import read_idx
from specdsl.training.certify.cascade import CASCADE, certify
from specdsl.training.emit.given import given_for
from specdsl.training.emit.script import script
from specdsl.training.plan.resolve import plans_of
from specdsl.training.runtime.attacks.attacks import pgd
from specdsl.training.runtime.loop.data import Samples, samples
from specdsl.training.runtime.networks.network import Trainable
from specdsl.training.runtime.networks.prune_relus import unstable_neurons

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
train net on digits{part} {{
  epochs = {epochs}  batch = {batch}  seed = {seed}  threads = 1
  optimizer = adam(lr = steps({lr}))
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
"""166,406 weights."""


def dense(*widths: int) -> str:
    """Dense layers with ReLUs."""
    hidden = "".join(f"  layer dense({width})\n  layer relu\n" for width in widths)
    return f"network net: Image -> real[10] {{\n  layer flatten\n{hidden}  layer dense(10)\n}}"


# A property that weighs nothing, and so is not computed: what the network is judged by.
OFF = "let off = steps(0)\n"
JUDGED = "off * certified_loss(robust, r = eps)"

VALIDATION = 7000
"""Training images from this one on are left out of training where choices are made by them."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """A training but for its seed.

    `body`: lines of the block. `rate`: of Adam, a fifth of it from 11 of 15 epochs on, a 25th from
    13 on. `tight`: whether alpha-CROWN takes part in the cascade. `seeds`: at most so many.
    `validated`: train without the last images of the training set, and be judged by those.
    """

    body: str
    network: str = SMALL
    init: str = "default"
    epochs: int = 15
    batch: int = 128
    rate: float = 5e-3
    tight: bool = True
    seeds: int = 3
    validated: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Training:
    """A trained network, the images to judge it by, and the script's module."""

    net: Trainable
    test: Samples
    module: ModuleType
    seconds: float


@dataclass(frozen=True, slots=True)
class Judgement:
    """Percent of the images, and the mean number of ReLUs that intervals leave unstable."""

    clean: float
    adversarial: float
    certified: float
    unstable: float


def trained(recipe: Recipe, data: Path, seed: int, eps: float) -> Training:
    """Run one training."""
    with tempfile.TemporaryDirectory() as folder:
        module = _script(recipe, data, Path(folder), seed, eps)
        began = time.process_time()
        net = module.train(Path(folder) / "net", torch.device("cpu"))
        seconds = time.process_time() - began
    test = images(data, "train")[VALIDATION:] if recipe.validated else images(data, "t10k")
    return Training(net, test, module, seconds)


def images(data: Path, name: str) -> Samples:
    """Those of MNIST's files of that name."""
    paths = (data / f"{name}-{kind}-ubyte.gz" for kind in ("images-idx3", "labels-idx1"))
    return samples(read_idx(*paths), scale=1 / 255, shape=(1, 28, 28))


def judged(training: Training, eps: float, *, tight: bool) -> Judgement:
    """Its accuracies, `tight` with alpha-CROWN on what CROWN leaves open."""
    net, test, module = training.net, training.test, training.module
    cascade = {name: bound for name, bound in CASCADE.items() if tight or name != "alpha_crown"}
    found = certify(net, test, module.judged, cascade=cascade, attack=pgd(40))
    assert found.clean is not None, "the images have labels"
    assert found.adversarial is not None, "there is an attack"
    with torch.no_grad():
        region = module.robust(test.inputs, test.labels, r=eps).region
        unstable = float(unstable_neurons(net.compiled(), region).float().mean())
    counts = (found.clean, found.adversarial, found.certified)
    clean, adversarial, certified = (100 * count / found.count for count in counts)
    return Judgement(clean, adversarial, certified, unstable)


def spec_text(recipe: Recipe, seed: int, eps: float) -> str:
    """A spec of the training."""
    return SPEC.format(
        eps=eps,
        network=recipe.network,
        part=f"[0:{VALIDATION}]" if recipe.validated else "",
        epochs=recipe.epochs,
        batch=recipe.batch,
        seed=seed,
        lr=_rates(recipe),
        init=recipe.init,
        body=recipe.body,
    )


def _script(recipe: Recipe, data: Path, folder: Path, seed: int, eps: float) -> ModuleType:
    for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        (folder / f"{name}-ubyte.gz").symlink_to((data / f"{name}-ubyte.gz").resolve())
    return script_of(spec_text(recipe, seed, eps), folder, data)


def script_of(text: str, folder: Path, data: Path) -> ModuleType:
    """The script of a spec's only training, as a module; `data` is a folder it may read."""
    path = folder / "training.spec"
    path.write_text(text)
    spec = load(path, allow=[data.resolve()]).combinations[0].spec
    (plan,) = plans_of(spec)
    emitted = folder / "script.py"
    emitted.write_text(script(plan, given_for(plan, spec, folder)))
    found = spec_from_file_location("script", emitted)
    assert found is not None
    assert found.loader is not None
    module = module_from_spec(found)
    # Dataclasses of the script look their module up.
    sys.modules["script"] = module
    found.loader.exec_module(module)
    return module


def _rates(recipe: Recipe) -> str:
    first, second = round(recipe.epochs * 11 / 15), round(recipe.epochs * 13 / 15)
    middle, last = (f"{recipe.rate / factor:g}" for factor in (5, 25))
    return (
        f"{recipe.rate:g}, {middle} for e in {first}..{second - 1}, "
        f"{last} for e in {second}..{recipe.epochs - 1}"
    )


# --- rows -----------------------------------------------------------------------------------------


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a file of JSON lines; none where there is no file."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def write_row(path: Path, row: Mapping[str, object]) -> None:
    """One more row, and its text to stderr."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(json.dumps(row) + "\n")
    sys.stderr.write(f"{row}\n")


def cell(values: list[float], digits: int) -> str:
    """A mean, and the deviation where there are several."""
    text = f"{mean(values):.{digits}f}"
    return text if len(values) == 1 else f"{text} ± {stdev(values):.{digits}f}"
