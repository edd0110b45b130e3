"""The ops that jump, by name."""

from __future__ import annotations

from collections.abc import Mapping

from specdsl.graph import ops

STEPS: Mapping[str, ops.Step] = {
    "sign": ops.Sign(),
    "positive": ops.Positive(),
    "not_negative": ops.NotNegative(),
    "is_zero": ops.IsZero(),
    "floor": ops.Floor(),
    "ceil": ops.Ceil(),
    "round": ops.Round(),
    "truncate": ops.Truncate(),
}
