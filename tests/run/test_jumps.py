"""Claims whose only counterexamples lie on a jump of the network: no verdict but an honest one."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest
import torch
from torch import nn

import specdsl
from specdsl.run.result import Result


class Stepped(nn.Module):
    """`step(weight * x + bias)` of one number."""

    def __init__(self, weight: float, bias: float, step: str) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 1)
        self.layer.weight.data, self.layer.bias.data = (
            torch.tensor([[weight]]),
            torch.tensor([bias]),
        )
        self.step = getattr(torch, step)
        self.eval()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.step(self.layer(x))


def ask(network: Stepped, box: str, claim: str, using: str, folder: Path) -> Result:
    path = folder / "jump.spec"
    path.write_text(
        "spec 1.0\nnetwork f: real[1] -> real[1] = given\n"
        f"property p {{ forall x in {box}  show {claim} }}\ncheck p"
    )
    report = specdsl.load(path, networks={"f": network}).check(using=using, timeout=30)
    (result,) = report.results
    return result


@pytest.mark.parametrize("using", ["portfolio", "search", "smt"])
@pytest.mark.parametrize(
    ("network", "box", "claim", "at"),
    [
        (Stepped(1.0, 0.0, "sign"), "box([-1], [1])", "abs(f(x)[0]) >= 1/2", Fraction(0)),
        (Stepped(1.0, 0.0, "floor"), "box([0], [1])", "f(x)[0] <= 1/2", Fraction(1)),
        (Stepped(-1.0, 0.0, "floor"), "box([0], [1/2])", "f(x)[0] <= -1/2", Fraction(0)),
        # 1/3 is no float64 number; the network jumps there for exact numbers and in float32.
        (Stepped(3.0, 0.0, "floor"), "box([0], [1/3])", "f(x)[0] <= 1/2", Fraction(1, 3)),
    ],
)
def test_the_only_counterexample_lies_on_a_jump(
    network: Stepped, box: str, claim: str, at: Fraction, using: str, tmp_path: Path
) -> None:
    result = ask(network, box, claim, using, tmp_path)
    assert result.verdict == "falsified"
    assert result.witness is not None
    assert result.witness.variables[0].values == (at,)
    assert result.witness.exact_margin == result.witness.replayed_margin == Fraction(-1, 2)


@pytest.mark.parametrize("using", ["portfolio", "search", "milp", "smt"])
def test_a_jump_between_floats_is_falsified_exactly_or_suspected(
    using: str, tmp_path: Path
) -> None:
    """`3 x = 0.3` for no float64 number x, but for numbers nearby in float32."""
    network = Stepped(3.0, -0.3, "sign")
    result = ask(network, "box([-1], [1])", "f(x)[0] != 0", using, tmp_path)
    if result.verdict == "falsified":
        assert result.witness is not None
        assert result.witness.exact_margin == 0
        (x,) = result.witness.variables[0].values
        assert 3 * x == Fraction(float(torch.tensor(0.3)))
        assert result.witness.notes
    else:
        assert result.verdict == "unknown"
        assert result.reason is not None
        assert "suspected" in result.reason
    assert using not in ("portfolio", "smt") or result.verdict == "falsified"
