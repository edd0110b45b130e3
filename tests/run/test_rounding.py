"""Networks that cancel huge numbers: rounding must never make a false claim verified."""

from __future__ import annotations

from pathlib import Path

import pytest

import specdsl

CANCELLING = """spec 1.0
network f: real[1] -> real[1] {
  layer dense(weight = [[1]], bias = [100000000000000000])
  layer relu
  layer dense(weight = [[1]], bias = [-100000000000000000])
  layer relu
  layer dense(weight = [[1]], bias = [-0.3])
}
property p { forall x in [0, 1] show f(x) <= -0.2 }
check p
"""


@pytest.mark.parametrize("using", ["portfolio", "incomplete", "lp", "milp", "search", "smt"])
def test_a_claim_that_only_rounding_makes_true_is_never_verified(
    tmp_path: Path, using: str
) -> None:
    """f(x) is x - 0.3 in real arithmetic; in floats x vanishes beside 1e17."""
    path = tmp_path / "cancel.spec"
    path.write_text(CANCELLING)
    (result,) = specdsl.load(str(path)).check(using=using, timeout=2).results
    assert result.verdict != "verified"
