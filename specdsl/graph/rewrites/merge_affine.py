"""Affine ops in a row become one: scales into layers, layers into layers where that is no larger.

A merge that loses the meaning is not made: a shift before a padded convolution stays (the padding
is not shifted), and so does a scale that differs along an axis the layer sums over window by
window.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from specdsl.graph import ops
from specdsl.graph.graph import Graph, NodeId
from specdsl.graph.ops import as_float
from specdsl.graph.rewrites.rewriting import Replacement, only_reader

FloatArray = npt.NDArray[np.float64]

# Two dense layers become one unless it holds more than this many times the entries of both.
GROWTH = 1.0


def merge_affine(graph: Graph, node: NodeId) -> Replacement | None:
    """Merge a node with the affine op that alone feeds it, if the pair has a common form."""
    operands = graph.operands(node)
    if len(operands) != 1 or not only_reader(graph, operands[0], node):
        return None
    (producer,) = operands
    inner, outer = graph.op(producer), graph.op(node)
    sources = graph.operands(producer)
    if len(sources) != 1:
        return None
    if isinstance(inner, ops.Dense) and isinstance(outer, ops.Select):
        return _dense_select(inner, outer, graph.shapes[producer], sources)
    merged = _merge(inner, outer, graph.shapes[sources[0]], graph.shapes[producer])
    return None if merged is None else Replacement((merged,), sources)


def _merge(inner: ops.Op, outer: ops.Op, source: ops.Shape, between: ops.Shape) -> ops.Op | None:
    match inner, outer:
        case ops.Scale(), ops.Scale():
            return _scale_scale(inner, outer)
        case ops.Dense(), ops.Scale():
            return _dense_scale(inner, outer, between)
        case ops.Scale(), ops.Dense():
            return _scale_dense(inner, outer, between)
        case ops.Conv(), ops.Scale():
            return _conv_scale(inner, outer, between)
        case ops.Scale(), ops.Conv():
            return _scale_conv(inner, outer, between)
        case ops.Dense(), ops.Dense():
            return _dense_dense(inner, outer)
        case ops.Select(), ops.Dense():
            return _select_dense(inner, outer, source, between)
        case _:
            return None


def _scale_scale(inner: ops.Scale, outer: ops.Scale) -> ops.Op:
    factor = as_float(outer.scale)
    shift = factor * as_float(inner.shift) + as_float(outer.shift)
    return ops.Scale(factor * as_float(inner.scale), shift)


def _dense_scale(inner: ops.Dense, outer: ops.Scale, between: ops.Shape) -> ops.Op | None:
    factor = _along(outer.scale, between, len(between) - 1)
    shift = _along(outer.shift, between, len(between) - 1)
    if factor is None or shift is None:
        return None
    weight = factor[:, np.newaxis] * as_float(inner.weight)
    return ops.Dense(weight, factor * as_float(inner.bias) + shift)


def _scale_dense(inner: ops.Scale, outer: ops.Dense, between: ops.Shape) -> ops.Op | None:
    factor = _along(inner.scale, between, len(between) - 1)
    shift = _along(inner.shift, between, len(between) - 1)
    if factor is None or shift is None:
        return None
    weight = as_float(outer.weight)
    return ops.Dense(weight * factor, weight @ shift + as_float(outer.bias))


def _conv_scale(inner: ops.Conv, outer: ops.Scale, between: ops.Shape) -> ops.Op | None:
    factor, shift = _along(outer.scale, between, 1), _along(outer.shift, between, 1)
    if factor is None or shift is None:
        return None
    weight = as_float(inner.weight) * factor.reshape(-1, *(1 for _ in inner.weight.shape[1:]))
    return _with_weight(inner, weight, factor * as_float(inner.bias) + shift)


def _scale_conv(inner: ops.Scale, outer: ops.Conv, between: ops.Shape) -> ops.Op | None:
    factor, shift = _along(inner.scale, between, 1), _along(inner.shift, between, 1)
    if factor is None or shift is None:
        return None
    if shift.any() and any(p for pad in outer.pads for p in pad):
        return None
    weight = as_float(outer.weight)
    rows, channels = weight.shape[:2]
    # (out, in / groups): the channel that each slice of the weight reads.
    group = np.arange(rows) // (rows // outer.groups)
    read = group[:, np.newaxis] * channels + np.arange(channels)
    flat = weight.reshape(rows, channels, -1)
    offset = (flat.sum(axis=2) * shift[read]).sum(axis=1)
    scaled = (flat * factor[read][:, :, np.newaxis]).reshape(weight.shape)
    return _with_weight(outer, scaled, as_float(outer.bias) + offset)


def _dense_dense(inner: ops.Dense, outer: ops.Dense) -> ops.Op | None:
    entries = outer.weight.shape[0] * inner.weight.shape[1]
    if entries > GROWTH * (inner.weight.size + outer.weight.size):
        return None
    weight = as_float(outer.weight)
    bias = weight @ as_float(inner.bias) + as_float(outer.bias)
    return ops.Dense(weight @ as_float(inner.weight), bias)


def _dense_select(
    inner: ops.Dense, outer: ops.Select, between: ops.Shape, sources: tuple[NodeId, ...]
) -> Replacement | None:
    """Picked entries of a vector that a dense layer computes are picked rows of the layer."""
    picked = outer.indices.reshape(-1)
    if between[-1] != np.prod(between) or picked.size > inner.weight.shape[0]:
        return None
    rows = ops.Dense(inner.weight[picked], inner.bias[picked])
    return Replacement((rows, ops.Reshape(outer.indices.shape)), sources)


def _select_dense(
    inner: ops.Select, outer: ops.Dense, source: ops.Shape, between: ops.Shape
) -> ops.Op | None:
    """A dense layer on picked entries of a vector is one on the vector, if that is not larger."""
    vectors = (*source[:-1], between[-1]) == between and all(n == 1 for n in source[:-1])
    if not vectors or source[-1] > 2 * between[-1]:
        return None
    weight = np.zeros((outer.weight.shape[0], source[-1]))
    # Entries may be picked several times: their columns add up.
    np.add.at(weight.T, inner.indices.reshape(-1), as_float(outer.weight).T)
    return ops.Dense(weight, outer.bias)


def _with_weight(op: ops.Conv, weight: FloatArray, bias: FloatArray) -> ops.Conv:
    return ops.Conv(weight, bias, op.strides, op.pads, op.dilations, op.groups)


def _along(parameter: ops.Array, shape: ops.Shape, axis: int) -> FloatArray | None:
    """The parameter as a vector along `axis`, or None where it varies along another one."""
    full = np.broadcast_to(as_float(parameter), shape)
    line = full[tuple(slice(None) if i == axis else slice(0, 1) for i in range(len(shape)))]
    if not bool((full == line).all()):
        return None
    return line.reshape(-1)
