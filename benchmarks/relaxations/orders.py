"""The orders that theory gives, looked for in rows: image by image, verdicts and bounds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchmarks.relaxations.asking import Row

# The first proves no more than the second.
WEAKER = (
    ("LP-Greedy", "LP-Last"),
    ("LP-Last", "LP-All"),
    ("CROWN", "LP-All"),
    ("LP-All", "SDP"),
    ("LP-All", "pairs"),
    ("pairs", "triples"),
    ("triples", "MILP"),
    ("SDP", "MILP"),
)
# Relative, of what solvers leave off: SCS ends at an accuracy of 1e-6 in its own scale.
TOLERANCE = 1e-3


def inversions(rows: Sequence[Row]) -> Iterator[str]:
    """Every image where a weaker method proves more, or one that is attacked is proven."""
    at = {(row.setting, row.trained, row.image, row.method): row for row in rows}
    for setting, by, image in dict.fromkeys(key[:3] for key in at):
        said = {m: at[setting, by, image, m] for *_, m in at if (setting, by, image, m) in at}
        name = f"{setting}, {by}, image {image}"
        attacked = [m for m, row in said.items() if row.verdict == "falsified"]
        proven = [m for m, row in said.items() if row.verdict == "verified"]
        if attacked and proven:
            yield f"{name}: {attacked[0]} falsifies what {proven[0]} verifies"
        for weak, strong in WEAKER:
            if weak in said and strong in said:
                yield from (f"{name}: {text}" for text in _compared(said[weak], said[strong]))


def _compared(weak: Row, strong: Row) -> Iterator[str]:
    if weak.verdict == "verified" and strong.verdict != "verified":
        yield f"{weak.method} verifies, {strong.method} says {strong.verdict}"
    # Where a case is proven, every method stops at what is enough for that.
    left_open = weak.verdict == strong.verdict == "unknown"
    if left_open and weak.bound is not None and strong.bound is not None:
        room = TOLERANCE * (1 + abs(weak.bound))
        if weak.bound > strong.bound + room:
            yield f"{weak.method} proves {weak.bound:.6g}, {strong.method} {strong.bound:.6g}"
