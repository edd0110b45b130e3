"""A network that its spec trains: read from what was saved; a warning where the text changed."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

import specdsl
from specdsl.diagnostics import render
from specdsl.training.plan.resolve import plans_of
from specdsl.training.runtime.networks.network import Trainable
from specdsl.training.runtime.networks.save import save_onnx, save_safetensors
from tests.conftest import Golden

TEXT = """spec 1.0
network h: real[2] -> real[2] { layer dense(2) }
dataset d: (real[2], label[2]) = csv("d.csv", label = 2)
property p(x, y) = forall z in norm_ball(x, 1, linf): argmax(h(z)) == y
train h on d {
  epochs = 1  optimizer = adam(lr = 1/1000)
  minimize certified_loss(p)
  save FORMAT("h.FORMAT")
}
check forall z in box([0, 0], [1, 1]): h(z)[0] <= 2
"""


def written(folder: Path, form: str) -> Path:
    path = folder / "f.spec"
    path.write_text(TEXT.replace("FORMAT", form))
    return path


def network() -> nn.Sequential:
    """Its first output is that of x[0]."""
    layer = nn.Linear(2, 2)
    with torch.no_grad():
        layer.weight.copy_(torch.eye(2))
        layer.bias.zero_()
    return nn.Sequential(layer)


def save(path: Path, form: str, recipe: str) -> None:
    if form == "onnx":
        save_onnx(Trainable.of(network(), (2,)), path.with_name("h.onnx"), recipe)
    else:
        save_safetensors(network(), path.with_name("h.safetensors"), recipe)


def test_what_was_saved_is_checked(tmp_path: Path) -> None:
    for form in ("onnx", "safetensors"):
        path = written(tmp_path, form)
        (plan,) = plans_of(specdsl.load(path).combinations[0].spec)
        save(path, form, plan.recipe)
        report = specdsl.load(path).check()
        assert [r.word for r in report.results] == ["verified"]
        assert not report.diagnostics


def test_another_text_is_warned_about(tmp_path: Path, golden: Golden) -> None:
    for form in ("onnx", "safetensors"):
        path = written(tmp_path, form)
        save(path, form, "0123456789abcdef" * 4)
        report = specdsl.load(path).check()
        assert [r.word for r in report.results] == ["verified"]
        (warning,) = report.diagnostics
        assert warning.code == "W0903"
    golden.check("codes/W0903.txt", render(warning).replace(f"{tmp_path}/", ""))
