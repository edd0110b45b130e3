"""A sweep as a table: its trials from the best certified accuracy down, the front marked."""

from __future__ import annotations

from collections.abc import Sequence

from specdsl.training.sweep.front import front
from specdsl.training.sweep.journal import Trial
from specdsl.training.sweep.space import Values

NOT_KNOWN = "n/a"
FRONT = "*"


def on_front(trials: Sequence[Trial]) -> tuple[Trial, ...]:
    """The trials of the Pareto front, from the least clean accuracy up."""
    judged = [trial for trial in trials if trial.accuracies is not None]
    points = [trial.accuracies for trial in judged if trial.accuracies is not None]
    return tuple(judged[index] for index in front(points))


def label(values: Values) -> str:
    """What was chosen for a trial: `alpha = 0.1, method = ibp(robust)`."""
    return ", ".join(f"{name} = {text}" for name, text in values.items())


def table(trials: Sequence[Trial]) -> str:
    """All trials as text, in columns; failed ones last.

    `*` marks the front, in parentheses where the trial is less accurate than asked for.
    """
    best = {trial.key for trial in on_front(trials)}
    names = list(dict.fromkeys(name for trial in trials for name in trial.parameters))
    head: tuple[str, ...] = ("", "trial", *names, "clean", "adversarial", "certified", "cpu s")
    rows: list[tuple[str, ...]] = [head]
    for trial in sorted(trials, key=_order):
        mark = FRONT if trial.key in best else ""
        mark = f"({mark})" if mark and not trial.meets else mark
        values = (trial.parameters.get(name, "") for name in names)
        row: tuple[str, ...] = (mark, str(trial.trial), *values, *_figures(trial))
        rows.append(row)
    lines = [_aligned(row, rows) for row in rows]
    failed = [t for t in trials if t.failed is not None]
    lines += [f"trial {t.trial} failed: {t.failed}" for t in failed]
    return "\n".join(lines)


def _order(trial: Trial) -> tuple[bool, float, float, int]:
    certified, clean = trial.certified or 0.0, trial.clean or 0.0
    return trial.accuracies is None, -certified, -clean, trial.trial


def _figures(trial: Trial) -> tuple[str, str, str, str]:
    seconds = NOT_KNOWN if trial.cpu_seconds is None else f"{trial.cpu_seconds:.1f}"
    return (
        _percent(trial.clean),
        _percent(trial.adversarial),
        _percent(trial.certified),
        seconds,
    )


def _percent(share: float | None) -> str:
    return NOT_KNOWN if share is None else f"{100 * share:.2f} %"


def _aligned(row: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Marks and values to the left, figures to the right."""
    widths = [max(len(each[i]) for each in rows) for i in range(len(row))]
    figures = len(row) - 4
    cells = (
        cell.ljust(width) if 1 < i < figures or i == 0 else cell.rjust(width)
        for i, (cell, width) in enumerate(zip(row, widths, strict=True))
    )
    return "  ".join(cells).rstrip()
