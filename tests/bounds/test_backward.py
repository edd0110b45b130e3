"""Rows walk back in windows where they can: nothing but rounding tells that from whole rows."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from specdsl.bounds.compiled import CompiledGraph, compile_graph
from specdsl.bounds.interval import Interval
from specdsl.bounds.passes import crown
from specdsl.bounds.passes.crown import Relaxations, entry_ends, propagate
from specdsl.bounds.passes.forward import node_values
from specdsl.bounds.regions.region import InputRegion, input_region
from specdsl.bounds.rows import backward
from specdsl.bounds.rows.windows import WindowRows
from specdsl.graph import ops
from specdsl.graph.composites.windows import Window, max_pool
from specdsl.graph.graph import Graph, GraphBuilder, NodeId
from specdsl.query.sets import Norm, exact, norm_ball

INPUT = (1, 2, 9, 8)
INPUTS = 144
# Sums of some hundred terms of size 10, in another order.
ROUNDING = 1e-12
SMOOTH = [ops.Sigmoid(), ops.Tanh(), ops.Square()]
PIECEWISE = [ops.Relu(), ops.LeakyRelu(0.1), ops.LeakyRelu(-0.3), ops.Abs(), ops.Clip(-0.5, 1.0)]
# Bounded with rounding outward at every node.
DELICATE = [ops.Floor(), ops.Sign()]
BLOCKS = (
    "residual",
    "product",
    "pool",
    "joined",
    "padded",
    "spread",
    "moved",
    "turned",
    "norm",
    "dilated",
)


def conv(
    random: np.random.Generator,
    channels: tuple[int, int],
    kernel: int,
    *,
    stride: int = 1,
    pad: tuple[int, int] = (0, 0),
    dilation: int = 1,
    groups: int = 1,
) -> ops.Conv:
    """A convolution over two axes, alike along both but for the pads."""
    inside, outside = channels
    weight = random.normal(size=(outside, inside // groups, kernel, kernel)) / kernel
    pads = (pad, (pad[1], pad[0]))
    turns = (stride,) * 2, pads, (dilation,) * 2
    return ops.Conv(weight, random.normal(size=outside), *turns, groups)


def block(builder: GraphBuilder, kind: str, x: NodeId, random: np.random.Generator) -> NodeId:
    """One block behind a value of 4 channels, with as many."""
    shape = builder.shape(x)
    kind = kind if min(shape[2:]) >= 4 else "residual"
    same = builder.add(conv(random, (4, 4), 3, pad=(1, 1)), x)
    match kind:
        case "residual":
            return builder.add(ops.Sum((1.0, -2.0)), same, x)
        case "product":
            return builder.add(ops.Multiply(), same, x)
        case "pool":
            return max_pool(builder, x, Window((2, 2), (2, 1), ((0, 1), (1, 0)), (1, 1)))
        case "joined":
            half = builder.add(conv(random, (4, 2), 1), x)
            fixed = builder.add(ops.Constant(random.normal(size=(1, 2, *shape[2:]))))
            return builder.add(ops.Concat(1), half, fixed)
        case "padded":
            edge = builder.add(ops.Constant(random.normal(size=(1, 4, 2, shape[3]))))
            return builder.add(conv(random, (4, 4), 3), builder.add(ops.Concat(2), edge, x))
        case "spread":
            weight, bias = random.normal(size=(4, 2, 3, 2)), random.normal(size=4)
            turns = (2, 1), ((1, 0), (0, 1)), (1, 2), (1, 0), 2
            return builder.add(ops.ConvTranspose(weight, bias, *turns), x)
        case "moved":
            flat = builder.add(ops.Reshape((int(np.prod(shape)),)), x)
            return builder.add(ops.Reshape(shape), builder.add(ops.LeakyRelu(0.5), flat))
        case "turned":
            last = builder.add(ops.Transpose((0, 2, 3, 1)), x)
            last = builder.add(ops.Scale(random.normal(size=4), random.normal(size=1)), last)
            swapped = builder.add(ops.Transpose((0, 2, 1, 3)), builder.add(ops.Abs(), last))
            both = builder.add(ops.Transpose((0, 3, 2, 1)), swapped)
            return builder.add(ops.Sum((1.0, 0.5)), both, x)
        case "norm":
            normal = random.normal(size=(3, 4))
            norm = ops.BatchNorm(normal[0], normal[1], normal[2], random.random(4), 1e-5)
            scale = ops.Scale(random.normal(size=(shape[3],)), random.normal(size=(4, 1, 1)))
            return builder.add(scale, builder.add(norm, x))
        case _:
            return builder.add(conv(random, (4, 4), 2, pad=(2, 1), dilation=2, groups=2), x)


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Two or three blocks with nonlinear ops between, then dense layers."""
    random = np.random.default_rng(draw(st.integers(0, 2**16)))
    delicate = DELICATE if draw(st.integers(0, 3)) == 0 else []
    between = st.sampled_from([*PIECEWISE, *SMOOTH, *delicate])
    builder = GraphBuilder()
    if draw(st.booleans()):
        last = builder.add(ops.Input((*INPUT[:1], *INPUT[2:], INPUT[1])))
        x = builder.add(ops.Transpose((0, 3, 1, 2)), last)
    else:
        x = builder.add(ops.Input(INPUT))
    x = builder.add(conv(random, (2, 4), 3, stride=draw(st.integers(1, 2)), pad=(1, 0)), x)
    for kind in draw(st.lists(st.sampled_from(BLOCKS), min_size=2, max_size=3)):
        x = block(builder, kind, builder.add(draw(between), x), random)
    size = int(np.prod(builder.shape(x)))
    flat = builder.add(ops.Relu(), builder.add(ops.Reshape((size,)), x))
    hidden = builder.add(
        ops.Dense(random.normal(size=(5, size)) / size, random.normal(size=5)), flat
    )
    last = ops.Dense(random.normal(size=(3, 5)), random.normal(size=3))
    return builder.build(builder.add(last, builder.add(ops.Relu(), hidden)))


def boxes(compiled: CompiledGraph, seed: int, radius: float) -> InputRegion:
    """Three boxes of different widths."""
    random = np.random.default_rng(seed)
    center = torch.as_tensor(random.normal(size=(3, INPUTS)))
    width = radius * torch.as_tensor(random.random((3, INPUTS)))
    return InputRegion(Interval(center - width, center + width))


def all_ends(
    compiled: CompiledGraph, region: InputRegion, relaxations: Relaxations
) -> dict[NodeId, Interval]:
    """Bounds by rows of all entries that nonlinear ops read, and of the output.

    With the same lines: which line is better is a matter of rounding in a tie.
    """
    graph = compiled.graph
    return {
        node: entry_ends(compiled, node, torch.arange(graph.size(node)), region, relaxations)
        for node in (*compiled.pre_activations, graph.output)
    }


def agree(one: Interval, other: Interval) -> bool:
    """Up to rounding, in proportion to the largest end."""
    for a, b in ((one.lower, other.lower), (one.upper, other.upper)):
        same = (a == b) | ((a - b).abs() <= ROUNDING * (1 + b.abs().amax()))
        if not bool(same.all()):
            return False
    return True


def assert_changes_nothing(
    compiled: CompiledGraph, region: InputRegion, module: ModuleType, name: str, value: float
) -> None:
    """The bounds of all entries, with a constant of the module set to another value."""
    relaxations = propagate(compiled, region, checked=True).relaxations
    found = all_ends(compiled, region, relaxations)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, name, value)
        changed = all_ends(compiled, region, relaxations)
    for node, ends in found.items():
        assert agree(ends, changed[node]), node


@given(graphs(), st.integers(0, 2**16), st.sampled_from([0.02, 0.2]))
@settings(deadline=None, max_examples=60)
def test_windows_give_what_whole_rows_give(graph: Graph, seed: int, radius: float) -> None:
    compiled = compile_graph(graph)
    region = boxes(compiled, seed, radius)
    assert_changes_nothing(compiled, region, backward, "WORTHWHILE_PART", 0.0)


@given(graphs(), st.integers(0, 2**16), st.sampled_from(["l1", "l2"]))
@settings(deadline=None, max_examples=30)
def test_windows_of_balls_give_what_whole_rows_give(graph: Graph, seed: int, norm: Norm) -> None:
    center = exact(np.random.default_rng(seed).normal(size=INPUTS))
    compiled = compile_graph(graph)
    region = input_region(norm_ball(center, exact(np.array([0.25]))[0], norm), compiled.like)
    assert_changes_nothing(compiled, region, backward, "WORTHWHILE_PART", 0.0)


@given(graphs(), st.integers(0, 2**16))
@settings(deadline=None, max_examples=30)
def test_bounds_contain_values(graph: Graph, seed: int) -> None:
    compiled = compile_graph(graph)
    region = boxes(compiled, seed, 0.2)
    found = propagate(compiled, region, checked=True).bounds
    unit = torch.as_tensor(np.random.default_rng(seed).random((20, 3, INPUTS)))
    unit[::2] = unit[::2].round()
    points = region.box.lower + unit * (region.box.upper - region.box.lower)
    values = node_values(compiled, points.flatten(0, 1))
    for node, ends in found.items():
        value = values[node].unflatten(0, (20, 3))
        room = ROUNDING * (1 + value.abs().amax())
        assert bool((value >= ends.lower - room).all() & (value <= ends.upper + room).all()), node


@given(graphs(), st.integers(0, 2**16))
@settings(deadline=None, max_examples=15)
def test_chunks_do_not_matter(graph: Graph, seed: int) -> None:
    compiled = compile_graph(graph)
    region = boxes(compiled, seed, 0.1)
    assert_changes_nothing(compiled, region, crown, "MAX_COEFFICIENTS", 4000)


def test_rows_behind_convolutions_stay_in_windows() -> None:
    random = np.random.default_rng(0)
    builder = GraphBuilder()
    x = builder.add(ops.Input((1, 2, 32, 32)))
    for kind in ("residual", "pool", "spread"):
        hidden = builder.add(conv(random, (builder.shape(x)[1], 4), 3, pad=(1, 1)), x)
        x = block(builder, kind, builder.add(ops.Relu(), hidden), random)
    flat = builder.add(ops.Reshape((builder.build(x).size(x),)), x)
    compiled = compile_graph(builder.build(flat))
    region = InputRegion(Interval(torch.zeros(2, 2048).double(), torch.ones(2, 2048).double()))
    relaxations = propagate(compiled, region).relaxations
    sizes: list[int] = []

    def through(node: NodeId, rows: backward.Rows) -> backward.Passed:
        sizes.append(rows.size)
        assert isinstance(rows, WindowRows)
        return relaxations[node].through(rows)

    entries, signs = torch.tensor([0, 700, 1300]), torch.ones(3).double()
    found = backward.walk(compiled, *backward.unit_rows(compiled, flat, entries, signs), through)
    assert isinstance(found.rows, WindowRows)
    assert found.size < 4 * 32 * 32 / 2
