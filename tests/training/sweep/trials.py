"""Trials as a journal has them, without any training."""

from __future__ import annotations

from specdsl.training.sweep.journal import Trial

JUDGED = "robust(r = 1/16) on digits[1200:1500]"


def trial(
    number: int,
    clean: float | None = 0.5,
    certified: float | None = 0.25,
    *,
    least_clean: float | None = None,
    **parameters: str,
) -> Trial:
    """The trial of that number, whose key is the number; without accuracies it failed."""
    done = clean is not None
    return Trial(
        trial=number,
        parameters=parameters or {"alpha": f"0.{number}"},
        key=f"{number:064d}",
        recipe="recipe",
        folder=f"trial-{number}",
        judged=JUDGED,
        measure="measure",
        least_clean=least_clean,
        samples=300 if done else None,
        clean=clean,
        adversarial=None,
        certified=certified,
        by={"interval": 3} if done else None,
        cpu_seconds=1.25 if done else None,
        failed=None if done else "E1101: a term is NaN",
    )
