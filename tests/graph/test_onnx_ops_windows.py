"""Convolutions, pooling, resampling, padding: every form as ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from specdsl.diagnostics import SpecError
from specdsl.graph.onnx_import.load import load_onnx
from tests.graph.onnx_forms import agrees, form
from tests.graph.onnx_models import floats, integers

F = np.float32


@st.composite
def pooling(draw: st.DrawFn, *, dilations: bool) -> dict[str, Any]:
    """Attributes of a pooling over two axes; padding less than the kernel."""
    kernel = draw(st.lists(st.integers(1, 3), min_size=2, max_size=2))
    strides = draw(st.lists(st.integers(1, 3), min_size=2, max_size=2))
    found: dict[str, Any] = {"kernel_shape": kernel, "strides": strides}
    mode = draw(st.sampled_from(["NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"]))
    if mode == "NOTSET":
        found["ceil_mode"] = draw(st.integers(0, 1))
        found["pads"] = [draw(st.integers(0, k - 1)) for k in kernel * 2]
        if dilations:
            found["dilations"] = draw(st.lists(st.integers(1, 2), min_size=2, max_size=2))
    else:
        # The runtime fails where `SAME` would mean negative padding.
        assume(mode == "VALID" or all(k >= s for k, s in zip(kernel, strides, strict=True)))
        found["auto_pad"] = mode
    return found


@settings(max_examples=40, deadline=None)
@given(attributes=pooling(dilations=True), opset=st.sampled_from([10, 12, 22]))
def test_max_pooling(attributes: dict[str, Any], opset: int) -> None:
    agrees(form("MaxPool", [1, 2, 6, 7], opset=opset, **attributes))


@settings(max_examples=60, deadline=None)
@given(
    attributes=pooling(dilations=False),
    counted=st.integers(0, 1),
    opset=st.sampled_from([10, 11, 19]),
)
def test_average_pooling(attributes: dict[str, Any], counted: int, opset: int) -> None:
    agrees(form("AveragePool", [1, 2, 6, 7], opset=opset, count_include_pad=counted, **attributes))


def test_pooling_of_other_ranks_and_dilated_averages() -> None:
    agrees(form("MaxPool", [2, 2, 7], kernel_shape=[3], strides=[2]))
    agrees(form("MaxPool", [1, 1, 3, 4, 5], kernel_shape=[2, 2, 2]))
    agrees(form("MaxPool", [1, 2, 6, 6], opset=7, kernel_shape=[2, 2]))
    agrees(form("AveragePool", [1, 2, 6, 6], opset=7, kernel_shape=[2, 3]))
    agrees(form("AveragePool", [1, 1, 7, 7], opset=19, kernel_shape=[2, 3], dilations=[2, 2]))
    agrees(form("GlobalAveragePool", [1, 2, 3, 5]))
    agrees(form("GlobalMaxPool", [2, 2, 3]))


# --- convolutions --------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(data=st.data(), groups=st.sampled_from([1, 2]))
def test_convolutions(data: st.DataObject, groups: int) -> None:
    def pair(low: int, high: int) -> list[int]:
        return data.draw(st.lists(st.integers(low, high), min_size=2, max_size=2))

    kernel, strides, dilations = pair(1, 3), pair(1, 3), pair(1, 2)
    weight = {"w": floats(4, 4 // groups, *kernel), "b": floats(4)}
    mode = data.draw(st.sampled_from(["NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"]))
    attributes: dict[str, Any] = {"strides": strides, "group": groups}
    if mode == "NOTSET":
        attributes["pads"] = pair(0, 2) + pair(0, 2)
        attributes["dilations"] = dilations
    else:
        attributes["auto_pad"] = mode
    agrees(form("Conv", [1, 4, 7, 6], weight, opset=11, **attributes))


@settings(max_examples=40, deadline=None)
@given(data=st.data(), groups=st.sampled_from([1, 2]))
def test_transposed_convolutions(data: st.DataObject, groups: int) -> None:
    def pair(low: int, high: int) -> list[int]:
        return data.draw(st.lists(st.integers(low, high), min_size=2, max_size=2))

    kernel, strides = pair(1, 4), pair(1, 3)
    weight = {"w": floats(4, 2, *kernel), "b": floats(2 * groups)}
    attributes: dict[str, Any] = {"strides": strides, "group": groups}
    kind = data.draw(st.sampled_from(["pads", "shape", "SAME_UPPER", "SAME_LOWER", "VALID"]))
    extra = [data.draw(st.integers(0, s - 1)) for s in strides]
    full = [s * (n - 1) + k for s, n, k in zip(strides, (4, 3), kernel, strict=True)]
    if kind == "pads":
        dilations = pair(1, 2)
        spans = [d * (k - 1) + 1 for d, k in zip(dilations, kernel, strict=True)]
        pads = [data.draw(st.integers(0, (s - 1) // 2)) for s in spans * 2]
        attributes |= {"dilations": dilations, "pads": pads, "output_padding": extra}
    elif kind == "shape":
        wanted = [max(1, n - data.draw(st.integers(0, 3))) for n in full]
        attributes["output_shape"] = wanted
        attributes["auto_pad"] = data.draw(st.sampled_from(["NOTSET", "SAME_UPPER", "SAME_LOWER"]))
    else:
        # The runtime wants kernels at least as large as the strides.
        assume(kind == "VALID" or all(k >= s for k, s in zip(kernel, strides, strict=True)))
        attributes["auto_pad"] = kind
    agrees(form("ConvTranspose", [1, 4, 4, 3], weight, opset=11, **attributes))


def test_transposed_convolutions_of_other_ranks() -> None:
    agrees(form("ConvTranspose", [1, 2, 5], {"w": floats(2, 3, 3)}, strides=[2]))
    agrees(form("ConvTranspose", [2, 1, 2, 3, 2], {"w": floats(1, 2, 2, 2, 2)}))


# --- resampling ----------------------------------------------------------------------------------

COORDINATES = ["half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric"]
NEAREST = ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]


@pytest.mark.parametrize("coordinates", COORDINATES)
@pytest.mark.parametrize("nearest", NEAREST)
@pytest.mark.parametrize("scale", [0.5, 2.0, 3.0, 1.5])
def test_resizing_to_the_nearest_entry(coordinates: str, nearest: str, scale: float) -> None:
    scales = {"r": np.zeros(0, F), "s": np.array([1, 1, scale, 2], F)}
    flags = {"coordinate_transformation_mode": coordinates, "nearest_mode": nearest}
    agrees(form("Resize", [1, 2, 4, 3], scales, mode="nearest", **flags))


@pytest.mark.parametrize("coordinates", COORDINATES)
@pytest.mark.parametrize("sizes", [(5, 7), (2, 1), (4, 3), (8, 6)])
def test_linear_resizing(coordinates: str, sizes: tuple[int, int]) -> None:
    constants = {"n": integers(1, 2, *sizes)}
    flags = {"coordinate_transformation_mode": coordinates, "mode": "linear"}
    agrees(form("Resize", [1, 2, 4, 3], constants, operands=["x", "", "", "n"], **flags))


def test_resizing_in_other_opsets() -> None:
    scales = {"s": np.array([1, 1, 2, 1.5], F)}
    agrees(form("Resize", [1, 2, 4, 4], scales, opset=10, mode="nearest"))
    agrees(form("Resize", [1, 2, 4, 4], scales, opset=10, mode="linear"))
    agrees(form("Upsample", [1, 2, 4, 4], scales, opset=9, mode="nearest"))
    agrees(form("Upsample", [1, 2, 4, 4], scales, opset=9, mode="linear"))
    agrees(form("Upsample", [1, 2, 4, 4], opset=7, mode="nearest", scales=[1.0, 1.0, 2.0, 1.0]))
    some = {"s": np.array([2, 0.5], F)}
    agrees(form("Resize", [1, 2, 4, 4], some, opset=18, operands=["x", "", "s"], axes=[2, 3]))
    for policy in ("not_larger", "not_smaller"):
        sizes = {"n": integers(7, 8)}
        flags = {
            "axes": [2, 3],
            "keep_aspect_ratio_policy": policy,
            "mode": "linear",
        }
        agrees(form("Resize", [1, 1, 4, 6], sizes, opset=19, operands=["x", "", "", "n"], **flags))
    symmetric = {
        "coordinate_transformation_mode": "half_pixel_symmetric",
        "mode": "linear",
    }
    fractional = {"s": np.array([1, 1, 2.4, 1.3], F)}
    agrees(form("Resize", [1, 1, 4, 6], fractional, opset=19, operands=["x", "", "s"], **symmetric))


# --- padding -------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["constant", "reflect", "edge", "wrap"])
@pytest.mark.parametrize("pads", [(0, 1, 2, 0, 2, 1), (0, 0, 0, 0, 0, 1), (0, 2, 1, 0, 1, 2)])
def test_padding(mode: str, pads: tuple[int, ...]) -> None:
    opset = 19 if mode == "wrap" else 11
    agrees(form("Pad", [1, 3, 4], {"p": integers(*pads)}, opset=opset, mode=mode))
    if mode != "wrap":
        agrees(form("Pad", [1, 3, 4], opset=10, pads=list(pads), mode=mode))


def test_padding_of_some_axes_with_a_value() -> None:
    constants = {"p": integers(1, 2), "v": np.array(0.3, F), "a": integers(-1)}
    agrees(form("Pad", [2, 3], constants, opset=18))
    agrees(form("Pad", [2, 3], {"p": integers(0, -1, 1, 0), "v": np.array(2, F)}))
    agrees(form("Pad", [2, 3], opset=7, pads=[0, 1, 0, 0], value=-1.5))
    fixed = {"c": floats(1, 2), "p": integers(0, 1, 0, 1), "v": np.array(0.5, F)}
    agrees(form("Pad", [1, 1], fixed, operands=["c", "p", "v"]))


# --- refusals ------------------------------------------------------------------------------------


def refusal(content: bytes) -> str:
    with pytest.raises(SpecError) as caught:
        load_onnx(content, "net", check=False)
    return caught.value.diagnostics[0].message


def test_refusals_read_well() -> None:
    scales = {"r": np.zeros(0, F), "s": np.array([1, 1, 2, 2], F)}
    shape = [1, 1, 4, 4]
    assert refusal(form("Resize", shape, scales, mode="cubic")) == (
        "network `net`: node `r0` (`Resize`): mode `cubic` is not supported; only nearest and"
        " linear are"
    )
    pool = {"kernel_shape": [2, 2]}
    assert "column-major" in refusal(form("MaxPool", shape, storage_order=1, **pool))
    assert "indices" in refusal(form("MaxPool", shape, results=2, **pool))
    region = {"coordinate_transformation_mode": "tf_crop_and_resize"}
    assert "`tf_crop_and_resize`" in refusal(form("Resize", shape, scales, **region))
    assert "`antialias`" in refusal(form("Resize", shape, scales, opset=18, antialias=1))
    reflect = {"p": integers(0, 0, 0, 5, 0, 0, 0, 0)}
    assert "reflection of 5" in refusal(form("Pad", shape, reflect, mode="reflect"))
    weight = {"w": floats(1, 1, 2, 2)}
    assert "larger" in refusal(form("ConvTranspose", shape, weight, output_shape=[9, 9]))
