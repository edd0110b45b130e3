"""Slices at places computed from the input, and what is put there: as ONNX Runtime."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from specdsl.diagnostics import SpecError
from specdsl.graph import composites, ops
from specdsl.graph.evaluate import evaluate
from specdsl.graph.graph import GraphBuilder
from specdsl.graph.onnx_import.load import load_onnx
from tests.graph.onnx_forms import agrees, form, several
from tests.graph.onnx_models import Node, floats, integers

F = np.float32
PLACES = np.array([[p, q] for p in range(-9, 10) for q in range(-9, 10)], F)

# --- which entries a slice has -------------------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(
    start=st.integers(-9, 9),
    end=st.integers(-9, 9),
    extent=st.integers(1, 6),
    known=st.sampled_from(["neither", "start", "end", "both"]),
)
def test_a_slice_has_the_entries_that_python_says(
    start: int, end: int, extent: int, known: str
) -> None:
    builder = GraphBuilder()
    x = builder.add(ops.Input((2,)))
    first, last = (builder.add(ops.Select(np.full((), i, dtype=np.int64)), x) for i in range(2))
    present = composites.inside(
        builder,
        start if known in ("start", "both") else first,
        end if known in ("end", "both") else last,
        extent,
    )
    graph = builder.build(present, composites.count(builder, present))
    values = evaluate(graph, {x: np.array([[start, end]], dtype=float)})
    kept = list(range(extent))[start:end]
    expected = [float(i in kept) for i in range(extent)]
    assert values[present][0].tolist() == expected
    assert values[graph.outputs[1]][0].tolist() == [len(kept)]


# --- patches -------------------------------------------------------------------------------------


def unsqueezed(x: str, y: str, axis: int, opset: int) -> Node:
    if opset < 13:
        return ("Unsqueeze", [x], [y], {"axes": [axis]})
    return ("Unsqueeze", [x, f"axis {axis}"], [y], {})


def patch(sizes: Sequence[int | None], opset: int, *, scaled: bool) -> list[Node]:
    """`y = image` with `image[p : p + n, q : q + m]` tripled, or replaced by `fill`, of shape (m,).

    (p, q) are the whole parts of `x`; sizes are n and m, None stands for "to the end".
    """
    nodes: list[Node] = [("Cast", ["x"], ["places"], {"to": 7})]
    for axis, size in enumerate(sizes):
        nodes += [
            ("Gather", ["places", f"number {axis}"], [f"p{axis}"], {"axis": 0}),
            unsqueezed(f"p{axis}", f"start{axis}", 0, opset),
        ]
        if size is not None:
            nodes += [
                ("Add", [f"p{axis}", f"size {axis}"], [f"e{axis}"], {}),
                unsqueezed(f"e{axis}", f"end{axis}", 0, opset),
            ]
        end = "endless" if size is None else f"end{axis}"
        nodes += [
            ("Slice", [f"range {axis}", f"start{axis}", end, "axis 0"], [f"r{axis}"], {}),
            (
                "Slice",
                ["image" if axis == 0 else "cut0", f"start{axis}", end, f"axis {axis}"],
                [f"cut{axis}"],
                {},
            ),
        ]
    nodes += [
        ("Reshape", ["r0", "column"], ["rows"], {}),
        ("Add", ["rows", "r1"], ["both"], {}),
        ("Shape", ["both"], ["shape"], {}),
        ("Shape", ["shape"], ["rank"], {}),
        ("ConstantOfShape", ["rank"], ["ones"], {"value": onnx_integer(1)}),
        ("Mul", ["ones", "minus"], ["unknown"], {}),
        ("Equal", ["shape", "unknown"], ["left out"], {}),
        ("Where", ["left out", "ones", "shape"], ["target"], {}),
    ]
    for axis, name in enumerate(["rows", "r1"]):
        nodes += [
            ("Expand", [name, "target"], [f"wide{axis}"], {}),
            unsqueezed(f"wide{axis}", f"index{axis}", -1, opset),
        ]
    nodes.append(("Concat", ["index0", "index1"], ["indices"], {"axis": -1}))
    if scaled:
        nodes.append(("Mul", ["cut1", "three"], ["updates"], {}))
    else:
        nodes += [
            ("Shape", ["cut1"], ["extents"], {}),
            ("Expand", ["fill", "extents"], ["filled"], {}),
            ("Concat", ["shape", "nothing"], ["all"], {"axis": 0}),
            ("Reshape", ["filled", "all"], ["updates"], {}),
        ]
    return [*nodes, ("ScatterND", ["image", "indices", "updates"], ["y"], {})]


def onnx_integer(value: int) -> object:
    from onnx import numpy_helper

    return numpy_helper.from_array(integers(value))


def patch_constants(sizes: Sequence[int | None]) -> dict[str, np.ndarray]:
    image = floats(5, 4)
    constants = {
        "image": image,
        "three": np.array(3, F),
        "fill": np.array([[7]], F),
        "column": integers(-1, 1),
        "minus": np.array(-1),
        "nothing": integers(),
        "endless": integers(np.iinfo(np.int64).max),
        "axis 0": integers(0),
        "axis 1": integers(1),
        "axis -1": integers(-1),
    }
    for axis, size in enumerate(sizes):
        constants[f"number {axis}"] = np.array(axis)
        constants[f"range {axis}"] = np.arange(image.shape[axis])
        if size is not None:
            constants[f"size {axis}"] = np.array(size)
    return constants


@pytest.mark.parametrize("opset", [11, 13, 18])
@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("sizes", [(1, 1), (2, 3), (7, 1), (0, 2), (2, None)])
def test_patches_at_computed_places(
    sizes: tuple[int | None, int | None], scaled: bool, opset: int
) -> None:
    constants = patch_constants(sizes)
    content = several(patch(sizes, opset, scaled=scaled), [2], constants, opset=opset)
    agrees(content, points=PLACES)


# --- gathers and scatters ------------------------------------------------------------------------

# The first entries of `x` as indices, whatever they are, kept within an axis of extent 3.
INDICES: list[Node] = [
    ("Clip", ["x", "least", "most"], ["k"], {}),
    ("Cast", ["k"], ["i"], {"to": 7}),
]
WITHIN = {"least": np.array(-3, F), "most": np.array(2, F)}


@pytest.mark.parametrize("opset", [11, 13, 18])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_elements_at_computed_places(axis: int, opset: int) -> None:
    flags = {"before": INDICES, "axis": axis, "opset": opset}
    constants = WITHIN | {"c": floats(3, 3, 4)[..., :3]}
    agrees(form("GatherElements", [2, 3, 1], constants, operands=["c", "i"], **flags))
    agrees(form("GatherElements", [3, 3, 3], WITHIN, operands=["x", "i"], **flags))


@pytest.mark.parametrize("opset", [12, 13, 18])
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_tuples_at_computed_places(depth: int, opset: int) -> None:
    flags = {"before": INDICES, "opset": opset}
    constants = WITHIN | {"c": floats(3, 3, 3)}
    agrees(form("GatherND", [2, 1, depth], constants, operands=["c", "i"], **flags))
    agrees(form("GatherND", [depth], constants, operands=["c", "i"], **flags))
    updates = constants | {"u": floats(2, *(3,) * (3 - depth))}
    agrees(form("ScatterND", [2, depth], updates, operands=["c", "i", "u"], **flags))
    one = constants | {"u": floats(*(3,) * (3 - depth))}
    agrees(form("ScatterND", [depth], one, operands=["c", "i", "u"], **flags))


def test_everything_computed() -> None:
    agrees(form("GatherND", [3, 1], WITHIN, before=INDICES, operands=["x", "i"]))
    flat: list[Node] = [*INDICES, ("Squeeze", ["x", "last"], ["u"], {})]
    constants = WITHIN | {"c": floats(3), "last": integers(1)}
    agrees(form("ScatterND", [3, 1], constants, before=flat, operands=["c", "i", "u"]))
    agrees(form("ScatterND", [3, 1], constants, before=flat, operands=["u", "i", "c"]))


def test_too_many_choices_are_refused() -> None:
    constants = WITHIN | {"c": floats(3000, 2)}
    content = form("GatherND", [1500, 1], constants, before=INDICES, operands=["c", "i"])
    with pytest.raises(SpecError) as caught:
        load_onnx(content, "net")
    (found,) = caught.value.diagnostics
    assert found.code == "E0602"
    assert "1500 computed places among 3000 entries" in found.message


# --- what is refused -----------------------------------------------------------------------------


def refusal(nodes: Sequence[Node], constants: dict[str, np.ndarray], shape: Sequence[int]) -> str:
    with pytest.raises(SpecError) as caught:
        load_onnx(several(nodes, shape, constants), "net")
    (found,) = caught.value.diagnostics
    assert found.code in ("E0605", "E0609")
    return found.message


CUT: list[Node] = [
    ("Cast", ["x"], ["p"], {"to": 7}),
    ("Add", ["p", "two"], ["e"], {}),
    ("Slice", ["c", "p", "e"], ["s"], {}),
]
CONSTANTS = {"two": integers(2), "c": floats(5), "w": floats(2, 3), "step": integers(-1)}
CONSTANTS |= {"zero": integers(0), "fixed": integers(2), "first": np.array(0), "pair": floats(2)}
CONSTANTS |= {"pair0": np.array(0, F)}


def test_a_shape_that_depends_on_the_input_is_said_to() -> None:
    def said(*nodes: Node) -> str:
        return refusal([*CUT, *nodes], CONSTANTS, [1])

    assert "the shape of the output `y` depends" in said(("Relu", ["s"], ["y"], {}))
    assert "(shape up to 5)" in said(("MatMul", ["s", "w"], ["y"], {}))
    assert "do not broadcast" in said(("Add", ["s", "pair"], ["y"], {}))
    assert "cut twice" in said(("Slice", ["s", "zero", "p"], ["y"], {}))
    backwards = ("Slice", ["c", "p", "e", "zero", "step"], ["y"], {})
    assert "a step of -1" in said(backwards)
    # Whether a slice of up to five entries has two is known at run time only.
    shape: Node = ("Shape", ["s"], ["n"], {})
    assert "is so large" in said(shape, ("Equal", ["n", "fixed"], ["y"], {}))
    single: Node = ("Gather", ["n", "first"], ["y"], {})
    assert "single extent" in said(shape, single)
    assert "shape up to 5" in said(("Clip", ["pair0", "s"], ["y"], {}))
    assert "entries up to 5" in said(shape, ("ReduceSum", ["n"], ["y"], {"keepdims": 0}))


def test_slices_at_different_places_do_not_mix() -> None:
    nodes: list[Node] = [*CUT, ("Slice", ["c", "e", "p"], ["t"], {})]
    assert "do not broadcast" in refusal([*nodes, ("Add", ["s", "t"], ["y"], {})], CONSTANTS, [1])


def test_known_cuts_of_a_partial_value_leave_known_extents() -> None:
    nodes: list[Node] = [
        *CUT,
        ("Expand", ["s", "rows"], ["wide"], {}),
        ("Slice", ["wide", "zero", "back", "zero", "two"], ["some"], {}),
        ("Shape", ["some"], ["n"], {}),
        ("Gather", ["n", "first"], ["count"], {}),
        ("Unsqueeze", ["count", "zero"], ["target"], {}),
        ("Expand", ["x", "target"], ["y"], {}),
    ]
    constants = {**CONSTANTS, "rows": integers(5, 1), "back": integers(-1)}
    graph = agrees(several(nodes, [1], constants))
    assert graph.shapes[graph.output] == (2,)


def test_extents_that_are_known_after_all_are_constants() -> None:
    nodes: list[Node] = [
        *CUT,
        ("Expand", ["s", "rows"], ["wide"], {}),
        ("Shape", ["wide"], ["n"], {}),
        ("Slice", ["n", "zero", "one"], ["front"], {}),
        ("Gather", ["n", "first"], ["count"], {}),
        ("Mul", ["front", "count"], ["area"], {}),
        ("Expand", ["x", "area"], ["y"], {}),
    ]
    constants = {**CONSTANTS, "rows": integers(3, 1), "one": integers(1)}
    graph = agrees(several(nodes, [1], constants))
    assert graph.shapes[graph.output] == (9,)
