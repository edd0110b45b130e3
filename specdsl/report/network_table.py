"""A network for people: a table of its layers, totals, and the ops some backend has no rule for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import IO

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from specdsl.graph.graph import Graph
from specdsl.report.network_facts import Layer, layers, shape_text, totals
from specdsl.report.wording import plural

WIDTH = 100
"""Columns where the output is no terminal."""
READERS = 3
"""Readers of a node listed by name."""


def to_text(title: str, graph: Graph, missing: Mapping[str, Sequence[str]]) -> str:
    """The table without colour, for files and golden tests."""
    console = Console(width=WIDTH, color_system=None, force_terminal=False)
    with console.capture() as capture:
        console.print(render(title, graph, missing))
    return "\n".join(line.rstrip() for line in capture.get().splitlines()) + "\n"


def write(title: str, graph: Graph, missing: Mapping[str, Sequence[str]], stream: IO[str]) -> None:
    """Print to a stream: colours and the full width on a terminal, plain columns elsewhere."""
    if not stream.isatty():
        stream.write(to_text(title, graph, missing))
        return
    Console(file=stream, highlight=False).print(render(title, graph, missing))


def render(title: str, graph: Graph, missing: Mapping[str, Sequence[str]]) -> RenderableType:
    """Everything about one network. `missing`: ops without a rule, by backend."""
    inputs, outputs = (
        ", ".join(f"{node} [{shape_text(graph.shapes[node])}]" for node in dict.fromkeys(nodes))
        for nodes in (graph.inputs, graph.outputs)
    )
    heading = Text(f"{title}: {inputs} -> {outputs}", style="bold")
    return Group(heading, _table(graph), Text(_totals(graph)), *_missing(missing), Text())


def _table(graph: Graph) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("layer", "op", "shape"):
        table.add_column(name, overflow="fold")
    table.add_column("parameters", justify="right")
    table.add_column("read by", overflow="fold")
    for layer in layers(graph):
        is_output = layer.node in graph.outputs
        table.add_row(
            Text(layer.node),
            Text(f"{layer.op}({layer.settings})" if layer.settings else layer.op),
            layer.shape,
            f"{layer.parameters:,}" if layer.parameters else "",
            Text(_readers(layer, is_output)),
        )
    return table


def _readers(layer: Layer, is_output: bool) -> str:
    named = list(layer.readers[:READERS])
    if len(layer.readers) > READERS:
        named.append(f"{len(layer.readers) - READERS} more")
    return ", ".join([*(["(output)"] if is_output else []), *named])


def _totals(graph: Graph) -> str:
    found = totals(graph)
    entries = [f"{count:,} {kind}" for kind, count in found.entries.items()]
    parts = [plural(found.nodes, "node", "nodes"), f"{found.parameters:,} parameters"]
    if entries:
        parts.append("entries of values that are not affine: " + ", ".join(entries))
    return "; ".join(parts)


def _missing(missing: Mapping[str, Sequence[str]]) -> list[RenderableType]:
    """A line for each backend that cannot take the network."""
    lacking = {backend: names for backend, names in missing.items() if names}
    if not missing:
        return []
    if not lacking:
        return [Text("every backend has a rule for every op")]
    takes = ", ".join(b for b in missing if b not in lacking) or "none"
    lines = [f"backends with a rule for every op: {takes}"]
    lines += [f"  {backend} has no rule for {', '.join(n)}" for backend, n in lacking.items()]
    return [Text(line) for line in lines]
