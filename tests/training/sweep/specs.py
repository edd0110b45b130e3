"""A small training of digits with things to vary."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from specdsl.training.sweep.ranges import split
from specdsl.training.sweep.space import Dimension
from specdsl.training.sweep.trainings import Trainings, read_trainings

HEAD = """spec 1.0
param eps: real = 1/16
param alpha: real = 1/10 in [0, 1]
param width: int = 12 in [1, 64]
param rate: real = 5e-3
"""
SPEC = (
    HEAD
    + """space Image { pixels: real[64] in [0, 1] }
network net: Image -> real[10] {
  layer dense(width)
  layer relu
  layer dense(10)
}
dataset digits: (Image, label[10]) = sklearn("digits") { scale = 1/16 }
property robust(x, y, r) = forall z in norm_ball(x, r, linf) & Image: argmax(net(z)) == y
train net on digits[0:600] {
  epochs = 2
  optimizer = adam(lr = rate)
  method = mtl_ibp(robust, r = eps, alpha = alpha)
  keep best by certified(robust, r = eps) on digits[1200:1500] where clean_accuracy >= 0.5
  save safetensors("networks/digits.safetensors")
}
check forall (x, y) in digits[1500:1510]: robust(x, y, eps)
"""
)
KEEP = next(line for line in SPEC.splitlines() if "keep best" in line)
METHOD = next(line for line in SPEC.splitlines() if "method =" in line)


def trainings(
    folder: Path,
    text: str = SPEC,
    *,
    on: str | None = None,
    network: str | None = None,
    fixed: Mapping[str, str] | None = None,
) -> Trainings:
    """The training of a spec that lies in a folder."""
    path = folder / "digits.spec"
    path.write_text(text)
    place = folder / "digits.sweep"
    return read_trainings(path, fixed or {}, network=network, on=on, folder=place)


def space(folder: Path, text: str = SPEC, **texts: str) -> tuple[Dimension, ...]:
    """What `-D` makes vary."""
    return split(trainings(folder, text), texts)[1]
