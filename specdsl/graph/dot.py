"""A graph as Graphviz text, for `dot -Tsvg`."""

from __future__ import annotations

from specdsl.graph import ops
from specdsl.graph.dump import parameters_of
from specdsl.graph.graph import Graph, NodeId

_MAX_LABEL = 60


def to_dot(graph: Graph, name: str = "graph") -> str:
    """A `digraph` with one box a node (op, parameters, shape) and edges in operand order."""
    numbers = {node: f"n{i}" for i, node in enumerate(graph.order)}
    lines = [f"digraph {_quoted(name)} {{", '  node [shape=box, fontname="monospace"];']
    lines += [
        f"  {numbers[n]} [label={_quoted(_label(graph, n))}{_style(graph, n)}];" for n in numbers
    ]
    for node, _, operands in graph:
        for slot, operand in enumerate(operands):
            order = f' [label="{slot}"]' if len(operands) > 1 else ""
            lines.append(f"  {numbers[operand]} -> {numbers[node]}{order};")
    lines.append("}")
    return "\n".join(lines) + "\n"


def _label(graph: Graph, node: NodeId) -> str:
    op = graph.op(node)
    shape = ", ".join(str(n) for n in graph.shapes[node])
    lines = [f"{node}: {type(op).__name__} [{shape}]"]
    lines += [f"{key} = {value}" for key, value in parameters_of(op).items()]
    short = (line if len(line) <= _MAX_LABEL else f"{line[: _MAX_LABEL - 3]}..." for line in lines)
    return "\n".join(short)


def _style(graph: Graph, node: NodeId) -> str:
    if isinstance(graph.op(node), ops.Input):
        return ", style=rounded"
    return ", penwidth=2" if node in graph.outputs else ""


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
