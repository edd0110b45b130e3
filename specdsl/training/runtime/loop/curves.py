"""A training as a picture: its losses, accuracies and radius over the epochs, from its log."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from specdsl.diagnostics import SpecError
from specdsl.training.runtime.loop.log import read_log

FORMATS = (".svg", ".png")
# Colours of Paul Tol's bright scheme, which stay apart for colour-blind readers too.
COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#bbbbbb")
ACCURACIES = ("clean", "adversarial", "certified")
SIZE = (6.4, 7.2)
DOTS_PER_INCH = 150
# Of the panels, in parts of the lowest one.
HEIGHTS = {"loss": 3, "accuracy": 3}
# Beyond so many epochs points run into a thick line.
MARKED = 60

Series = tuple[list[int], list[float]]


def draw(log: Path, picture: Path) -> None:
    """Draw a JSONL log into a file, the same bytes for the same log.

    Raises SpecError E1104 where the picture has another ending than `.svg` or `.png`, the log is
    empty, or matplotlib is not installed; E0854 where the file cannot be written; E1103 as
    `read_log`.
    """
    content = render(read_log(log), picture)
    try:
        picture.write_bytes(content)
    except OSError as error:
        raise SpecError.of("E0854", f"cannot write `{picture}`: {error.strerror}") from error


def render(records: Sequence[Mapping[str, Any]], picture: Path) -> bytes:
    """The content of the picture; the path says in which format. Raises as `draw`."""
    if picture.suffix not in FORMATS:
        known = " or ".join(f"`{ending}`" for ending in FORMATS)
        message = f"`{picture.name}` is no picture that can be drawn"
        raise SpecError.of("E1104", message, help=f"pictures end in {known}")
    if not records:
        raise SpecError.of("E1104", f"`{picture.name}` cannot be drawn: the log has no epoch yet")
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError as error:
        message = f"`{picture.name}` cannot be drawn: matplotlib is not installed"
        help_ = "install it with `pip install specdsl[plots]`"
        raise SpecError.of("E1104", message, help=help_) from error
    # Ids in SVG files are random without a salt, and the date changes every second.
    with rc_context({"svg.hashsalt": "specdsl", "svg.fonttype": "none"}):
        figure = Figure(figsize=SIZE, layout="constrained")
        _draw(figure, records)
        content = io.BytesIO()
        kind = picture.suffix[1:]
        metadata = {"Date": None} if kind == "svg" else {"Software": None}
        figure.savefig(content, format=kind, metadata=metadata, dpi=DOTS_PER_INCH)
    return content.getvalue()


def _draw(figure: Any, records: Sequence[Mapping[str, Any]]) -> None:
    """One above the other: losses, and of accuracies, multipliers and radius what has values."""
    panels = {
        "loss": _named(records, "terms"),
        "accuracy": {name: _series(records, name) for name in ACCURACIES},
        "multiplier": _named(records, "multipliers"),
        "radius": {"eps": _series(records, "eps")},
    }
    panels = {
        what: lines
        for what, lines in panels.items()
        if what == "loss" or any(epochs for epochs, _ in lines.values())
    }
    heights = [HEIGHTS.get(what, 1) for what in panels]
    axes = figure.subplots(len(panels), sharex=True, height_ratios=heights, squeeze=False)[:, 0]
    for panel, (what, lines) in zip(axes, panels.items(), strict=True):
        _lines(panel, lines, what)
    axes[-1].set_xlabel("epoch")


def _named(records: Sequence[Mapping[str, Any]], field: str) -> dict[str, Series]:
    """The lines of a field that holds numbers by name."""
    names = dict.fromkeys(name for record in records for name in record.get(field) or {})
    return {name: _series(records, field, name) for name in names}


def _series(records: Sequence[Mapping[str, Any]], *path: str) -> Series:
    """Epochs and values of a field, without the epochs where it was not computed."""
    epochs: list[int] = []
    values: list[float] = []
    for record in records:
        value: Any = record
        for name in path:
            value = value.get(name) if isinstance(value, Mapping) else None
        # "nan" and "inf" are texts in a log: nothing can be drawn of them.
        if isinstance(value, int | float):
            epochs.append(record["epoch"])
            values.append(float(value))
    return epochs, values


def _lines(axes: Any, lines: Mapping[str, Series], what: str) -> None:
    longest = max((epochs[-1] for epochs, _ in lines.values() if epochs), default=0)
    marker = "." if longest <= MARKED else None
    for index, (name, (epochs, values)) in enumerate(lines.items()):
        if epochs:
            colour = COLOURS[index % len(COLOURS)]
            axes.plot(epochs, values, color=colour, label=name, marker=marker, linewidth=1.2)
    axes.set_ylabel(what)
    if axes.lines and len(lines) > 1:
        axes.legend(frameon=False, fontsize="small")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
