"""Trainings that scripts of the runtime cannot say, refused before anything runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from specdsl.diagnostics import SpecError
from tests.training.emit.scripts import START, emitted


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ("minimize adversarial_loss(robust, r = eps, by = several(fgsm, free))", "`free` cannot"),
        (
            "minimize clean_loss() constrain violation(robust, r = eps, by = free) <= 1/10",
            "`free` cannot",
        ),
        (
            "minimize clean_loss()"
            " keep best by adversarial(robust, r = eps, by = free) on digits[192:256]",
            "`free` cannot",
        ),
        (
            "minimize adversarial_loss(robust, r = eps, by = free(replays = 2))"
            " + adversarial_loss(round, r = eps, by = free(replays = 3))",
            "as often as all others",
        ),
        ("minimize trades_loss(robust, r = eps, by = noise(1/10))", "`noise` does not look for"),
        (
            "minimize clean_loss() constrain clean_error() <= 1/10 by proxy_lagrangian(init = 1)",
            "equal weights",
        ),
        (
            "minimize certified_loss(robust, r = eps, by = taps(after = a1, attack = fgsm))",
            "`fgsm` does not look behind layers",
        ),
        (
            "minimize certified_loss(robust, r = eps, by = taps(after = a1,"
            " attack = pgd(norm = l2)))",
            "steps in linf behind layers",
        ),
        (
            "minimize convex(1/10, certified_loss(robust, r = eps, by = taps(after = a1)),"
            " adversarial_loss(robust, r = eps))",
            "`taps` has a loss of its own",
        ),
        (
            "minimize convex(1/10, certified_loss(robust, r = eps, by = crown_ibp(fused = true)),"
            " adversarial_loss(robust, r = eps))",
            "bounds a loss, and no margins",
        ),
        (
            "minimize certified_loss(either, r = eps, by = crown_ibp(fused = true))",
            "no bound for a property with `or`",
        ),
        (
            "minimize clean_loss()"
            " constrain certified_error(robust, r = eps, by = crown_ibp(fused = true)) <= 1/10",
            "it proves no margin",
        ),
        (
            "minimize clean_loss() keep best by certified(robust, r = eps,"
            " by = crown_ibp(fused = true)) on digits[192:256]",
            "it proves no margin",
        ),
    ],
)
def test_what_cannot_be_trained_is_refused_before_anything_runs(
    lines: str, says: str, tmp_path: Path
) -> None:
    with pytest.raises(SpecError, match=says):
        emitted(START + lines, tmp_path)
