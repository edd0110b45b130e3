"""`report histogram("r.svg")`: how the values of a query are spread, as a picture."""

from __future__ import annotations

import io
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

from specdsl.diagnostics import SpecError
from specdsl.source import Span

FORMATS = (".svg", ".png", ".pdf")
BINS = 20


def draw(path: Path, values: Sequence[Fraction], title: str, span: Span) -> bytes:
    """The picture in the format of the path's ending, the same bytes for the same values.

    Raises SpecError E0854 for another ending, or where matplotlib is not installed.
    """
    if path.suffix not in FORMATS:
        known = ", ".join(f"`{ending}`" for ending in FORMATS)
        message = f"`{path.name}` is no picture that can be drawn"
        raise SpecError.of("E0854", message, span, help=f"pictures end in {known}")
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError as error:
        message = f"`{path.name}` cannot be drawn: matplotlib is not installed"
        help = "install it with `pip install specdsl[plots]`"
        raise SpecError.of("E0854", message, span, help=help) from error
    numbers = [float(v) for v in values]
    # Ids in SVG files are random without a salt, and the date changes every second.
    with rc_context({"svg.hashsalt": "specdsl", "svg.fonttype": "none"}):
        figure = Figure(figsize=(6, 3.5), layout="constrained")
        axes = figure.add_subplot()
        axes.hist(numbers, bins=min(BINS, max(1, len(set(numbers)))), color="#4477aa")
        axes.set_xlabel(title)
        axes.set_ylabel("count")
        content = io.BytesIO()
        kind = path.suffix[1:]
        when = {"Date": None} if kind == "svg" else {"CreationDate": None} if kind == "pdf" else {}
        figure.savefig(content, format=kind, metadata=when)
    return content.getvalue()
