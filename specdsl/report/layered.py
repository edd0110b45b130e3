"""Layered drawing of a directed acyclic graph: rows from top to bottom, edges always downwards.

Longest paths give the rows, sweeps of barycentres the order in a row, and least squares under the
distances that boxes need the places along it. Edges over several rows get a bend in each of them,
so that they lead around the boxes.
Source: Sugiyama, Tagawa and Toda 1981, doi:10.1109/TSMC.1981.4308636.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

Node = int
Edge = tuple[Node, Node]

# Barycentres settle within a few sweeps in both directions.
SWEEPS = 8
# What a bend takes of its row: two edges are this far apart, in units of the caller.
BEND_WIDTH = 18.0
GAP = 22.0

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Bend:
    """Where a long edge, by its number, passes a row."""

    edge: int
    row: int


Spot = Node | Bend


@dataclass(frozen=True, slots=True)
class Box:
    """Width and height of what is drawn for a node."""

    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Drawing:
    """`centers` of the boxes by node; `edges` in the given order, each from the lower edge of its
    first box over its bends to the upper edge of its second.
    """

    centers: Mapping[Node, Point]
    edges: tuple[tuple[Point, ...], ...]
    width: float
    height: float


def draw(boxes: Mapping[Node, Box], edges: Sequence[Edge], row_gap: float) -> Drawing:
    """Places for all boxes; `boxes` come in topological order, no edge goes upwards in it."""
    rows_of = _rows(boxes, edges)
    chains = [_chain(i, edge, rows_of) for i, edge in enumerate(edges)]
    rows: list[list[Spot]] = [[] for _ in range(max(rows_of.values(), default=-1) + 1)]
    for node, row in rows_of.items():
        rows[row].append(node)
    for chain in chains:
        for bend in chain:
            if isinstance(bend, Bend):
                rows[bend.row].append(bend)
    above, below = _neighbours(chains)
    _order(rows, above, below)
    widths = {spot: _width(spot, boxes) for row in rows for spot in row}
    x = _places(rows, widths, above, below)
    return _drawing(boxes, rows, chains, x, row_gap)


def _rows(boxes: Mapping[Node, Box], edges: Sequence[Edge]) -> dict[Node, int]:
    """The length of the longest path to each node; nodes without operands stand above a reader."""
    operands: dict[Node, list[Node]] = {node: [] for node in boxes}
    readers: dict[Node, list[Node]] = {node: [] for node in boxes}
    for start, end in edges:
        operands[end].append(start)
        readers[start].append(end)
    rows: dict[Node, int] = {}
    for node in boxes:
        rows[node] = max((rows[o] + 1 for o in operands[node]), default=0)
    for node in boxes:
        if not operands[node] and readers[node]:
            rows[node] = min(rows[r] for r in readers[node]) - 1
    return rows


def _chain(number: int, edge: Edge, rows: Mapping[Node, int]) -> list[Spot]:
    start, end = edge
    bends = [Bend(number, row) for row in range(rows[start] + 1, rows[end])]
    return [start, *bends, end]


Neighbours = Mapping[Spot, list[Spot]]


def _neighbours(chains: Iterable[list[Spot]]) -> tuple[Neighbours, Neighbours]:
    """What stands above and below each spot and is joined to it."""
    above: dict[Spot, list[Spot]] = {}
    below: dict[Spot, list[Spot]] = {}
    for chain in chains:
        for upper, lower in pairwise(chain):
            below.setdefault(upper, []).append(lower)
            above.setdefault(lower, []).append(upper)
    return above, below


def _order(rows: list[list[Spot]], above: Neighbours, below: Neighbours) -> None:
    """Sort every row by the mean place of what its spots are joined to, down and up again."""
    for sweep in range(SWEEPS):
        downwards = sweep % 2 == 0
        neighbours = above if downwards else below
        numbers = range(1, len(rows)) if downwards else range(len(rows) - 2, -1, -1)
        for number in numbers:
            beside = rows[number - 1 if downwards else number + 1]
            place = {spot: i / max(1, len(beside) - 1) for i, spot in enumerate(beside)}
            own = {spot: i / max(1, len(rows[number]) - 1) for i, spot in enumerate(rows[number])}
            rows[number].sort(
                key=lambda s, p=place, o=own: _mean([p[n] for n in neighbours.get(s, [])], o[s])
            )


def _places(
    rows: list[list[Spot]], widths: Mapping[Spot, float], above: Neighbours, below: Neighbours
) -> dict[Spot, float]:
    """Horizontal centres: near those of the neighbours, never too near to one another."""
    x = {spot: 0.0 for row in rows for spot in row}
    for sweep in range(2 * SWEEPS):
        downwards = sweep % 2 == 0
        for row in rows if downwards else reversed(rows):
            sides = (above,) if downwards else (below,)
            if sweep >= SWEEPS:
                sides = (above, below)
            wanted = [
                _mean([x[n] for side in sides for n in side.get(spot, [])], x[spot]) for spot in row
            ]
            gaps = [(widths[a] + widths[b]) / 2 + GAP for a, b in pairwise(row)]
            x.update(zip(row, apart(wanted, gaps), strict=True))
    return x


def apart(wanted: Sequence[float], gaps: Sequence[float]) -> list[float]:
    """The places nearest to the wanted ones, in squares, that keep their order and the gaps.

    Less the sum of gaps before it, every place must rise: isotonic regression, by pooling adjacent
    violators.
    """
    offsets = [0.0]
    for gap in gaps:
        offsets.append(offsets[-1] + gap)
    pools: list[tuple[float, int]] = []
    for place, offset in zip(wanted, offsets, strict=False):
        mean, count = place - offset, 1
        while pools and pools[-1][0] > mean:
            other, more = pools.pop()
            mean, count = (mean * count + other * more) / (count + more), count + more
        pools.append((mean, count))
    flat = [mean for mean, count in pools for _ in range(count)]
    return [mean + offset for mean, offset in zip(flat, offsets, strict=False)]


def _drawing(
    boxes: Mapping[Node, Box],
    rows: list[list[Spot]],
    chains: list[list[Spot]],
    x: Mapping[Spot, float],
    row_gap: float,
) -> Drawing:
    left = min((x[s] - _width(s, boxes) / 2 for s in x), default=0.0)
    right = max((x[s] + _width(s, boxes) / 2 for s in x), default=0.0)
    spans: list[tuple[float, float]] = []
    top = 0.0
    for row in rows:
        bottom = top + max((boxes[s].height for s in row if not isinstance(s, Bend)), default=0.0)
        spans.append((top, bottom))
        top = bottom + row_gap
    centers = {
        spot: (x[spot] - left, sum(span) / 2)
        for row, span in zip(rows, spans, strict=True)
        for spot in row
        if not isinstance(spot, Bend)
    }
    shifted = {spot: place - left for spot, place in x.items()}
    edges = tuple(tuple(_path(chain, boxes, centers, shifted, spans)) for chain in chains)
    return Drawing(centers, edges, right - left, spans[-1][1] if spans else 0.0)


def _path(
    chain: list[Spot],
    boxes: Mapping[Node, Box],
    centers: Mapping[Node, Point],
    x: Mapping[Spot, float],
    spans: Sequence[tuple[float, float]],
) -> Iterator[Point]:
    """From the lower edge of a box to the upper edge of another; past a row straight down."""
    for position, spot in enumerate(chain):
        if isinstance(spot, Bend):
            yield from ((x[spot], end) for end in spans[spot.row])
        else:
            half = boxes[spot].height / 2
            yield x[spot], centers[spot][1] + (half if position == 0 else -half)


def _width(spot: Spot, boxes: Mapping[Node, Box]) -> float:
    return BEND_WIDTH if isinstance(spot, Bend) else boxes[spot].width


def _mean(values: Sequence[float], default: float) -> float:
    return sum(values) / len(values) if values else default
