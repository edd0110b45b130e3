"""PyTorch modules that have no graph: what is said of each, as an error that a user can mend."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from specdsl.diagnostics import SpecError, render
from specdsl.graph.torch_import import load as torch_load
from specdsl.graph.torch_import.load import load_module
from tests.conftest import Golden
from tests.graph.torch_modules import Function, mlp, trained

Shape = tuple[int, ...]


def branches(x: Tensor) -> Tensor:
    return x if x.sum() > 0 else -x


class Counting(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return x + self.calls


NAN = float("nan")
REFUSED: dict[str, tuple[Callable[[], object], Shape]] = {
    "training mode": (lambda: nn.Sequential(nn.Linear(4, 4), nn.Dropout()).train(), (1, 4)),
    "a part in training mode": (
        lambda: nn.Sequential(nn.Linear(4, 4), nn.Dropout()).eval().append(nn.Dropout()),
        (1, 4),
    ),
    "float64": (lambda: nn.Linear(4, 2).double().eval(), (1, 4)),
    "no values": (lambda: nn.LazyLinear(4).eval(), (1, 4)),
    "wrong shape": (lambda: nn.Linear(5, 2).eval(), (1, 4)),
    "no module": (lambda: [1, 2], (1, 4)),
    "branch": (lambda: Function(branches).eval(), (1, 4)),
    "cond": (
        lambda: Function(
            lambda x: torch.cond(x.sum() > 0, lambda x: x + 1, lambda x: -x, (x,))
        ).eval(),
        (1, 4),
    ),
    "state": (lambda: Counting().eval(), (1, 4)),
    "batch statistics": (lambda: nn.BatchNorm1d(4, track_running_stats=False).eval(), (1, 4, 3)),
    "random": (lambda: Function(lambda x: x + torch.rand(4)).eval(), (1, 4)),
    "dropout": (lambda: Function(lambda x: F.dropout(x, 0.5)).eval(), (1, 4)),
    "embedding": (
        lambda: Function(lambda x, e: e(x.long()), nn.Embedding(3, 4)).eval(),
        (1, 4),
    ),
    "sort": (lambda: Function(lambda x: torch.sort(x)[0]).eval(), (1, 4)),
    "several ops": (lambda: Function(lambda x: x.atan() + x.asin()).eval(), (1, 4)),
    "item": (lambda: Function(lambda x: x * x.sum().item()).eval(), (1, 4)),
    "shape by value": (lambda: Function(lambda x: x[x > 0].sum()).eval(), (1, 4)),
    "place by value": (
        lambda: Function(lambda x: x.gather(1, x.argmax(1, keepdim=True))).eval(),
        (1, 4),
    ),
    "places of topk": (lambda: Function(lambda x: x.topk(1).indices.float()).eval(), (1, 4)),
    "topk": (lambda: Function(lambda x: x.topk(2).values).eval(), (1, 4)),
    "half": (lambda: Function(lambda x: (x.half() * 2).float()).eval(), (1, 4)),
    "infinity": (lambda: Function(lambda x: x.masked_fill(x > 0, float("-inf"))).eval(), (1, 4)),
    "NaN weights": (lambda: Function(lambda x: x @ torch.full((4, 4), NAN)).eval(), (1, 4)),
    "whole numbers": (lambda: Function(lambda x: x.argmax(1)).eval(), (1, 4)),
    "None": (lambda: Function(lambda x: (x, None)).eval(), (1, 4)),
    "zero divisor": (lambda: Function(lambda x: x / torch.zeros(4)).eval(), (1, 4)),
    "norm": (lambda: Function(lambda x: x.norm(3)).eval(), (1, 4)),
    "large": (lambda: Function(lambda x: x.expand(5000, 1000)).eval(), (1, 1000)),
}


def refusal(module: object, shape: Shape) -> str:
    with pytest.raises(SpecError) as caught:
        load_module(module, [shape], "net")
    text = render(caught.value.diagnostics[0])
    # Lines of this file change.
    return re.sub(r"(test_torch_refusals\.py|torch_modules\.py):\d+", "net.py:1", text)


def test_refusals_read_as_agreed(golden: Golden) -> None:
    blocks = [f"# {name}\n{refusal(make(), shape)}" for name, (make, shape) in REFUSED.items()]
    text = "\n\n".join(blocks)
    assert "Traceback" not in text
    golden.check("graph/torch_diagnostics.txt", text)


def test_a_wrong_rule_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = {**torch_load.RULES, "relu": torch_load.RULES["abs"]}
    monkeypatch.setattr(torch_load, "RULES", wrong)
    with pytest.raises(SpecError, match="in PyTorch but") as caught:
        load_module(nn.ReLU().eval(), [(1, 4)], "net")
    assert caught.value.diagnostics[0].code == "E0610"


def test_a_module_that_fails_when_replayed_says_so() -> None:
    class Failing(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            if failing:
                raise LookupError("gone")
            return x * 2

    failing = False
    network = load_module(Failing().eval(), [(1, 2)], "net")
    failing = True
    assert network.original is not None
    with pytest.raises(SpecError, match="PyTorch cannot run network `net`: gone") as caught:
        network.original.runner().run_many([np.zeros((1, 2), np.float32)])
    assert caught.value.diagnostics[0].code == "E0611"


def test_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    make, shape = REFUSED["branch"]
    refusal(make(), shape)
    load_module(trained(mlp()), [(1, 4)], "net")
    assert capfd.readouterr() == ("", "")
