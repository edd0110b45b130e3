"""The networks that are compared on, trained three ways, and what is asked of them.

Two hidden layers of 24 on MNIST, as small as what Tjeng et al. 2019 and Salman et al. 2019 decide
exactly in seconds; one of 32 on scikit-learn's digits of 8x8 pixels, for semidefinite programs.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import torch

from benchmarks.trainings import Recipe, dense, script_of, trained

TrainedBy = Literal["normal", "adversarial", "dual"]
BODIES: Mapping[TrainedBy, str] = MappingProxyType(
    {
        "normal": "minimize clean_loss()",
        "adversarial": """let r = ramp(0, eps, epochs = 0..8)
  let points = pgd(steps = 5, alpha = r / 2)
  minimize adversarial_loss(robust, r = r, by = points)""",
        "dual": """let r = ramp(0, eps, epochs = 0..8)
  minimize certified_loss(robust, r = r, by = wong_kolter)""",
    }
)


@dataclass(frozen=True, slots=True)
class Setting:
    """`count` of its images are asked about, at radius `eps`; `problem` says so. `key`: of files;
    `hidden`: sizes of layers.
    """

    name: str
    key: str
    hidden: tuple[int, ...]
    eps: float
    count: int
    problem: str


MNIST = Setting(
    "MNIST, 784-24-24-10",
    "mnist",
    (24, 24),
    0.05,
    100,
    """spec 1.0
space Image {{ pixels: real[1, 28, 28] in [0, 1] }}
network net: Image -> real[10] = given
dataset unseen: (Image, label[10]) = idx(
  "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"
) {{ scale = 1/255 }}
property robust(x, y) = forall z in norm_ball(x, {eps}, linf) & box(0, 1): argmax(net(z)) == y
check forall (x, y) in unseen[0:{count}]: robust(x, y)
""",
)
DIGITS = Setting(
    "digits, 64-32-10",
    "digits",
    (32,),
    0.1,
    20,
    """spec 1.0
space Image {{ pixels: real[64] in [0, 1] }}
network net: Image -> real[10] = given
dataset digits: (Image, label[10]) = sklearn("digits") {{ scale = 1/16 }}
property robust(x, y) = forall z in norm_ball(x, {eps}, linf) & Image: argmax(net(z)) == y
check forall (x, y) in digits[1500:{end}]: robust(x, y)
""",
)

DIGITS_TRAINING = """spec 1.0
param eps: real = {eps}
space Image {{ pixels: real[64] in [0, 1] }}
network net: Image -> real[10] {{
  layer dense(32)
  layer relu
  layer dense(10)
}}
dataset digits: (Image, label[10]) = sklearn("digits") {{ scale = 1/16 }}
property robust(x, y, r) = forall z in norm_ball(x, r, linf) & Image: argmax(net(z)) == y
train net on digits[0:1500] {{
  epochs = 30  batch = 100  seed = 0  threads = 1  clip = 10
  optimizer = adam(lr = steps(5e-3, 1e-3 for e in 22..25, 2e-4 for e in 26..29))
  {body}
}}
check forall (x, y) in digits[1500:1501]: robust(x, y, eps)
"""


def network(setting: Setting, by: TrainedBy, data: Path, kept: Path) -> torch.nn.Module:
    """Trained, or as it was kept in the folder `kept` when it was."""
    file = kept / f"{setting.key}_{by}.pt"
    if not file.exists():
        module = _train(setting, by, data)
        file.parent.mkdir(parents=True, exist_ok=True)
        torch.save(module, file)
    # Written by this benchmark, into a folder that is its own.
    module: Any = torch.load(file, weights_only=False)
    return module.eval()


def _train(setting: Setting, by: TrainedBy, data: Path) -> torch.nn.Module:
    body = BODIES[by]
    if setting.problem == MNIST.problem:
        recipe = Recipe(body, network=dense(*setting.hidden), rate=2e-3)
        return trained(recipe, data, 0, setting.eps).net.module
    text = DIGITS_TRAINING.format(eps=setting.eps, body=body)
    with tempfile.TemporaryDirectory() as folder:
        script = script_of(text, Path(folder), data)
        return script.train(Path(folder) / "net", torch.device("cpu")).module


def problem_text(setting: Setting, count: int) -> str:
    """The spec that asks about the first images."""
    return setting.problem.format(eps=setting.eps, count=count, end=1500 + count)
