"""Comparisons of softmax, sigmoid or other rising values become comparisons of their arguments.

Where only the sign of a value matters, `f(a) - f(b)` for a rising f may be replaced by `a - b`, and
`softmax_i - softmax_j` by the difference of the logits: the signs agree, 0 included, for all real
numbers. Margins of a query are such values. The magnitudes are other ones.

Not part of `simplify`, which keeps values.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from specdsl.graph import ops
from specdsl.graph.composites import exact_array
from specdsl.graph.graph import Graph, GraphBuilder, NodeId
from specdsl.graph.rewrites.entry_forms import Entry, EntryForms, Form
from specdsl.graph.rewrites.ordering import Ordering

# Entries a comparison may be over: more are a layer of their own, which has a better form already.
MAX_ENTRIES = 64


def compare_arguments(graph: Graph) -> Graph:
    """The graph, its only output replaced by a vector of the same signs, entry by entry.

    The same graph where nothing can be compared more simply. Entries whose form stays keep their
    values. Only for a graph with one output, of one axis.

    The same graph as well where an op may have no value, as the logarithm of what may be negative:
    a comparison of arguments has one, and a point without a value would pass for one that holds.
    """
    if not any(isinstance(op, ops.Smooth | ops.LeakyRelu) for _, op, _ in graph):
        return graph
    forms = EntryForms(graph)
    ordering = Ordering(graph, forms)
    if not ordering.has_values_everywhere():
        return graph
    found: dict[int, Form] = {}
    for position in range(graph.size(graph.output)):
        form = forms.of((graph.output, position))
        simpler = ordering.same_sign(form)
        if simpler is not form and 0 < len(simpler.terms) <= MAX_ENTRIES:
            found[position] = simpler
    return _with_outputs(graph, found) if found else graph


def _with_outputs(graph: Graph, forms: Mapping[int, Form]) -> Graph:
    """The graph with these entries of the output computed by their forms."""
    builder = GraphBuilder()
    for node, op, operands in graph:
        builder.add(op, *operands, name=node)
    compared = _layer(builder, graph, list(forms.values()))
    kept = [i for i in range(graph.size(graph.output)) if i not in forms]
    if not kept:
        return builder.build(compared)
    rest = builder.add(ops.Select(np.array(kept, dtype=np.int64)), graph.output)
    both = builder.add(ops.Concat(0), compared, rest)
    order = np.argsort(np.array([*forms, *kept], dtype=np.int64))
    return builder.build(builder.add(ops.Select(order), both))


def _layer(builder: GraphBuilder, graph: Graph, forms: list[Form]) -> NodeId:
    """A dense layer over the entries that the forms read, a row each."""
    entries = sorted({entry for form in forms for entry in form.terms})
    column = {entry: i for i, entry in enumerate(entries)}
    weight = np.zeros((len(forms), len(entries)), dtype=object)
    for row, form in enumerate(forms):
        for entry, coefficient in form.terms.items():
            weight[row, column[entry]] = coefficient
    bias = np.array([form.constant for form in forms], dtype=object)
    read = _vector(builder, graph, entries)
    return builder.add(ops.Dense(exact_array(weight), exact_array(bias)), read, name="compared")


def _vector(builder: GraphBuilder, graph: Graph, entries: Iterable[Entry]) -> NodeId:
    """The entries, which are sorted by node, as a vector."""
    places: dict[NodeId, list[int]] = {}
    for node, position in entries:
        places.setdefault(node, []).append(position)
    parts = [
        builder.add(ops.Select(np.array(positions, dtype=np.int64)), node)
        for node, positions in places.items()
    ]
    return parts[0] if len(parts) == 1 else builder.add(ops.Concat(0), *parts)
