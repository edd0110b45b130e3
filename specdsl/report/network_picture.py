"""Networks as one SVG picture: a box for every node, colours by kind, skip connections drawn.

Chains of many nodes become one box each where a network has more nodes than a picture can show.
The picture refers to nothing outside itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from specdsl.graph.graph import Graph, NodeId
from specdsl.report.layered import Box, Drawing, Point, draw
from specdsl.report.network_facts import KINDS, Layer, layers

MAX_BOXES = 100
"""Networks with more nodes than this are drawn with their chains in one box each."""
CHAIN_LINES = 6
"""Ops of a chain that its box lists."""

_COLOURS = {
    "input": "#e8e8e8",
    "constant": "#f5f5f5",
    "moves entries": "#dfe7ef",
    "affine": "#bcd6f2",
    "piecewise linear": "#f9d49b",
    "curved": "#c9e4b4",
    "jumps": "#f2b8b5",
    "other": "#ffffff",
}
_INK, _MUTED = "#1f2937", "#5b6471"
_FONT = "font-family='ui-monospace, Menlo, Consolas, monospace'"
# Of a monospaced font the width of a letter is 0.6 of its size.
_SIZE, _LETTER, _LINE = 12.0, 7.3, 16.0
_PADDING, _ROW_GAP, _MARGIN, _BETWEEN = 10.0, 34.0, 24.0, 60.0
_TITLE, _LEGEND = 34.0, 40.0
# Longer names are cut: node ids may hold whole module paths.
_LONGEST = 34


@dataclass(frozen=True, slots=True)
class _Card:
    """What stands in one box, and how it is coloured. `nodes`: those it is drawn for."""

    lines: tuple[str, ...]
    kind: str
    is_output: bool
    nodes: tuple[NodeId, ...]

    @property
    def box(self) -> Box:
        longest = max(len(line) for line in self.lines)
        return Box(longest * _LETTER + 2 * _PADDING, len(self.lines) * _LINE + _PADDING)


@dataclass(frozen=True, slots=True, eq=False)
class _Panel:
    """One network, laid out."""

    title: str
    cards: tuple[_Card, ...]
    drawing: Drawing

    @property
    def width(self) -> float:
        return max(self.drawing.width, len(self.title) * _LETTER * 1.2)


def to_svg(networks: Sequence[tuple[str, Graph]]) -> str:
    """The networks beside one another, each under its title."""
    panels = [_panel(title, graph) for title, graph in networks]
    legend = _legend({card.kind for panel in panels for card in panel.cards})
    width = 2 * _MARGIN + sum(p.width for p in panels) + _BETWEEN * max(0, len(panels) - 1)
    width = max(width, legend.width + 2 * _MARGIN)
    tallest = max((p.drawing.height for p in panels), default=0.0)
    height = 2 * _MARGIN + _TITLE + tallest + _LEGEND
    left, parts = _MARGIN, list[str]()
    for panel in panels:
        parts.append(_panel_text(panel, left))
        left += panel.width + _BETWEEN
    lines = [
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{width:.0f}' height='{height:.0f}' "
        f"viewBox='0 0 {width:.0f} {height:.0f}' {_FONT} font-size='{_SIZE:.0f}' fill='{_INK}'>",
        "<rect width='100%' height='100%' fill='#ffffff'/>",
        *parts,
        f"<g transform='translate({_MARGIN:.0f} {height - _MARGIN - 14:.0f})'>{legend.text}</g>",
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


# --- what is drawn --------------------------------------------------------------------------------


def _panel(title: str, graph: Graph) -> _Panel:
    found = {layer.node: layer for layer in layers(graph)}
    groups = _chains(graph) if len(found) > MAX_BOXES else [(node,) for node in graph.order]
    cards = tuple(_card([found[n] for n in group], graph) for group in groups)
    number = {node: i for i, card in enumerate(cards) for node in card.nodes}
    edges = {
        (number[operand], number[node]): None
        for node, _, operands in graph
        for operand in operands
        if number[operand] != number[node]
    }
    boxes = {i: card.box for i, card in enumerate(cards)}
    return _Panel(title, cards, draw(boxes, tuple(edges), _ROW_GAP))


def _chains(graph: Graph) -> list[tuple[NodeId, ...]]:
    """The nodes in groups: each reads nothing but the one before it, which nothing else reads."""
    groups: dict[NodeId, list[NodeId]] = {}
    for node, _, operands in graph:
        previous = groups.get(operands[0]) if len(set(operands)) == 1 else None
        alone = previous is not None and len(graph.readers(operands[0])) == 1
        inner = alone and operands[0] not in (*graph.inputs, *graph.outputs)
        group = previous if previous is not None and inner else []
        group.append(node)
        groups[node] = group
    unique = {id(group): tuple(group) for group in groups.values()}
    return sorted(unique.values(), key=lambda group: graph.order.index(group[-1]))


def _card(members: list[Layer], graph: Graph) -> _Card:
    first, last = members[0], members[-1]
    kinds = [m.kind for m in members]
    ops = [m.op if m.op != "Input" else "input" for m in members]
    if len(members) == 1:
        lines = [_cut(f"{ops[0]} {_settings(last)}".rstrip()), _cut(last.node)]
    else:
        shown = ops if len(ops) <= CHAIN_LINES else [*ops[: CHAIN_LINES - 1], "..."]
        lines = [*shown, _cut(f"{first.node} .. {last.node}")]
    parameters = sum(m.parameters for m in members)
    lines.append(last.shape + (f"  {parameters:,} parameters" if parameters else ""))
    # A chain has the colour of what is hardest in it.
    kind = max(kinds, key=list(_COLOURS).index) if "other" not in kinds else "other"
    is_output = any(m.node in graph.outputs for m in members)
    return _Card(tuple(lines), kind, is_output, tuple(m.node for m in members))


def _settings(layer: Layer) -> str:
    return f"({layer.settings})" if layer.settings else ""


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


# --- as text --------------------------------------------------------------------------------------


def _panel_text(panel: _Panel, left: float) -> str:
    title = f"<text x='0' y='14' font-size='15' font-weight='bold'>{escape(panel.title)}</text>"
    inset = (panel.width - panel.drawing.width) / 2
    edges = "\n".join(_edge_text(points) for points in panel.drawing.edges)
    boxes = "\n".join(
        _card_text(card, panel.drawing.centers[i]) for i, card in enumerate(panel.cards)
    )
    return (
        f"<g transform='translate({left:.1f} {_MARGIN:.1f})'>\n{title}\n"
        f"<g transform='translate({inset:.1f} {_TITLE:.1f})'>\n{edges}\n{boxes}\n</g>\n</g>"
    )


def _card_text(card: _Card, center: Point) -> str:
    box = card.box
    x, y = center[0] - box.width / 2, center[1] - box.height / 2
    border = f"stroke='{_INK}' stroke-width='{2.4 if card.is_output else 1}'"
    rounding = 12 if card.kind == "input" else 4
    parts = [
        f"<g><title>{escape(', '.join(card.nodes))}</title>",
        f"<rect x='{x:.1f}' y='{y:.1f}' width='{box.width:.1f}' height='{box.height:.1f}' "
        f"rx='{rounding}' fill='{_COLOURS[card.kind]}' {border}/>",
    ]
    for i, line in enumerate(card.lines):
        last = i >= len(card.lines) - 2
        style = f"fill='{_MUTED}'" if last else "font-weight='bold'"
        base = y + _PADDING / 2 + (i + 0.78) * _LINE
        parts.append(
            f"<text x='{center[0]:.1f}' y='{base:.1f}' text-anchor='middle' {style}>"
            f"{escape(line)}</text>"
        )
    return "\n".join([*parts, "</g>"])


def _edge_text(points: tuple[Point, ...]) -> str:
    """A smooth line that leaves and arrives upright at every bend, with a head at its end."""
    (x, y), *rest = points
    path = f"M{x:.1f} {y:.1f}"
    for u, v in rest:
        middle = (y + v) / 2
        path += f" C{x:.1f} {middle:.1f} {u:.1f} {middle:.1f} {u:.1f} {v:.1f}"
        x, y = u, v
    head = f"M{x - 4:.1f} {y - 7:.1f} L{x:.1f} {y:.1f} L{x + 4:.1f} {y - 7:.1f} Z"
    line = f"<path d='{path}' fill='none' stroke='{_MUTED}' stroke-width='1.3'/>"
    return f"{line}<path d='{head}' fill='{_MUTED}'/>"


@dataclass(frozen=True, slots=True)
class _Legend:
    text: str
    width: float


def _legend(kinds: set[str]) -> _Legend:
    """A square and a word for every kind that is in the picture."""
    x, parts = 0.0, list[str]()
    for kind in (k for k in (*KINDS, "other") if k in kinds):
        parts.append(
            f"<rect x='{x:.1f}' y='0' width='12' height='12' fill='{_COLOURS[kind]}' "
            f"stroke='{_INK}'/><text x='{x + 18:.1f}' y='10'>{kind}</text>"
        )
        x += 18 + len(kind) * _LETTER + 22
    return _Legend("".join(parts), x)
