"""A sweep as a picture: clean against certified accuracy, and the Pareto front as a broken line."""

from __future__ import annotations

import io
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from specdsl.diagnostics import SpecError
from specdsl.training.sweep.front import Accuracies, staircase
from specdsl.training.sweep.journal import Trial
from specdsl.training.sweep.table import label, on_front

FORMATS = (".svg", ".png")
# Two colours of Paul Tol's bright scheme, which stay apart for colour-blind readers too.
FRONT, OTHERS, LIMIT = "#4477aa", "#bbbbbb", "#ee6677"
SIZE = (7.6, 4.4)
DOTS_PER_INCH = 150
# Of the width and height of what the points span, around them; and at least this much, in percent.
MARGIN, LEAST_MARGIN = 0.08, 0.5
# Labels stand in a column right of the picture; more of them than fit are left to the table.
LABELS = 16


def render(trials: Sequence[Trial], picture: Path) -> bytes:
    """The content of the picture, whose path says its format; the same bytes for the same trials.

    Raises SpecError E1104 where no trial has a result, and as `require`.
    """
    require(picture)
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    if all(trial.accuracies is None for trial in trials):
        message = f"`{picture.name}` cannot be drawn: no trial has a result"
        raise SpecError.of("E1104", message)
    # Ids in SVG files are random without a salt, and the date changes every second.
    with rc_context({"svg.hashsalt": "specdsl", "svg.fonttype": "none"}):
        figure = Figure(figsize=SIZE, layout="constrained")
        _draw(figure.add_subplot(), trials)
        content = io.BytesIO()
        kind = picture.suffix[1:]
        metadata = {"Date": None} if kind == "svg" else {"Software": None}
        figure.savefig(content, format=kind, metadata=metadata, dpi=DOTS_PER_INCH)
    return content.getvalue()


def require(picture: Path) -> None:
    """Raise SpecError E1104 where such a picture cannot be drawn: before hours of training."""
    if picture.suffix not in FORMATS:
        known = " or ".join(f"`{ending}`" for ending in FORMATS)
        message = f"`{picture.name}` is no picture that can be drawn"
        raise SpecError.of("E1104", message, help=f"pictures end in {known}")
    if find_spec("matplotlib") is None:
        message = f"`{picture.name}` cannot be drawn: matplotlib is not installed"
        help_ = "install it with `pip install specdsl[plots]`"
        raise SpecError.of("E1104", message, help=help_)


def _draw(axes: Any, trials: Sequence[Trial]) -> None:
    points = [_percent(t.accuracies) for t in trials if t.accuracies is not None]
    best = on_front(trials)
    fronts = [_percent(t.accuracies) for t in best if t.accuracies is not None]
    limit = _limit(trials)
    _limits(axes, points, limit)
    corner = Accuracies(axes.get_xlim()[0], axes.get_ylim()[0])
    axes.plot(*staircase(fronts, corner), color=FRONT, linewidth=1.2, zorder=1, label="front")
    kept = {point for point in fronts}
    others = [point for point in points if point not in kept]
    _points(axes, others, limit, OTHERS)
    _points(axes, fronts, limit, FRONT)
    if limit is not None:
        axes.axvline(limit, color=LIMIT, linewidth=1.0, linestyle="--", zorder=0)
        axes.annotate(
            f" clean >= {limit:g} %",
            (limit, 0.01),
            xycoords=("data", "axes fraction"),
            color=LIMIT,
            fontsize="small",
        )
    _labels(axes, best, fronts)
    axes.set_xlabel("clean accuracy, %")
    axes.set_ylabel("certified accuracy, %")
    axes.set_title(trials[0].judged, fontsize="medium", loc="left")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _limit(trials: Sequence[Trial]) -> float | None:
    """The clean accuracy that is asked for, in percent; None where trials differ in it."""
    limits = {trial.least_clean for trial in trials}
    (limit,) = limits if len(limits) == 1 else (None,)
    return None if limit is None else 100 * limit


def _percent(point: Accuracies) -> Accuracies:
    return Accuracies(100 * point.clean, 100 * point.certified)


def _limits(axes: Any, points: Sequence[Accuracies], limit: float | None) -> None:
    clean = [p.clean for p in points] + ([] if limit is None else [limit])
    certified = [p.certified for p in points]
    for values, put in ((clean, axes.set_xlim), (certified, axes.set_ylim)):
        room = max(MARGIN * (max(values) - min(values)), LEAST_MARGIN)
        put(min(values) - room, max(values) + room)


def _points(axes: Any, points: Sequence[Accuracies], limit: float | None, colour: str) -> None:
    """Filled where the constraint is met, hollow where it is not."""
    for point in points:
        enough = limit is None or point.clean >= limit
        axes.plot(
            point.clean,
            point.certified,
            marker="o",
            markersize=5,
            color=colour,
            markerfacecolor=colour if enough else "white",
            linestyle="none",
            zorder=2,
        )


def _labels(axes: Any, best: Sequence[Trial], points: Sequence[Accuracies]) -> None:
    """What was chosen for the trials of the front, in a column on the right, each with a line."""
    # The front falls to the right: in this order lines do not cross.
    shown = sorted(zip(best, points, strict=True), key=lambda p: (-p[1].certified, p[1].clean))
    for place, (trial, point) in enumerate(shown[:LABELS]):
        axes.annotate(
            label(trial.parameters),
            (point.clean, point.certified),
            xytext=(1.03, 1 - (place + 0.5) / max(len(shown[:LABELS]), 6)),
            textcoords="axes fraction",
            fontsize="small",
            verticalalignment="center",
            arrowprops={
                "arrowstyle": "-",
                "color": OTHERS,
                "linewidth": 0.6,
                "shrinkB": 4,
                # From the middle of the left end of the text.
                "relpos": (0.0, 0.5),
            },
        )
