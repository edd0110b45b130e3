"""Bounds that a plain script has written out are those of the engine."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn

from specdsl.bounds.compiled import CompiledGraph, compile_graph
from specdsl.bounds.interval import Interval
from specdsl.bounds.methods import METHODS
from specdsl.bounds.passes.crown_ibp import crown_ibp_lower
from specdsl.bounds.regions.region import InputRegion
from specdsl.diagnostics import SpecError
from specdsl.graph.torch_import.load import load_module
from specdsl.training.runtime.regularisers.intervals import (
    intervals,
    relu_stability,
    shi_relu,
    shi_tightness,
)
from tests.training.emit.standalone_specs import (
    CONV,
    drawn,
    module_of,
    samples,
    script_of,
    spec_of,
)
from tests.training.emit.standalone_specs import SKIPS as SKIPPING

# Words that take every function of bounds and of regularisers, with all options.
SHI = """minimize certified_loss(robust, r = r, by = crown_ibp)
  regularize shi(robust, r = r, relu = 2, tightness = 2, tau = 1/3)
  regularize relu_stability(r = r)"""
CHAINS = {
    "one layer": ("64", "layer dense(10)"),
    "dense": ("64", "layer dense(24)  layer relu  layer dense(16)  layer relu  layer dense(10)"),
    "conv": ("1, 8, 8", CONV),
    "named": (
        "1, 8, 8",
        "layer first = conv(3, kernel = 3)  layer relu  layer flatten  layer dense(10)",
    ),
    "no relu after conv": ("1, 8, 8", "layer conv(3, kernel = 3)  layer flatten  layer dense(10)"),
    "normalize": (
        "2, 4, 8",
        "layer normalize(mean = [0.1, 0.3], std = [0.5, 2])  layer conv(3, kernel = 3, padding = 1)"
        "  layer relu  layer flatten  layer dense(10)",
    ),
    "normalize by one number": (
        "64",
        "layer normalize(mean = 0.5, std = 0.25)  layer dense(8)  layer relu  layer dense(10)",
    ),
    "signal": (
        "2, 32",
        "layer conv(3, kernel = 5, stride = 3)  layer relu  layer flatten  layer dense(10)",
    ),
}
SKIPS = {
    "skip": (
        "64",
        "layer dense(12)  layer relu  layer dense(12)  skip add(from = input, by = dense(12))"
        "  layer relu  layer dense(10)",
    ),
    "several": (
        "64",
        "layer dense(12)  layer a = relu  layer dense(12)  layer relu  skip add(from = a)"
        "  layer dense(12)  skip add(from = a)  layer relu  layer dense(12)  layer relu"
        "  skip add(from = input, by = dense(12))  layer relu  layer dense(10)",
    ),
    "images": ("1, 8, 8", SKIPPING),
}
NETWORKS = {**CHAINS, **SKIPS}
# The engine walks rows back through all affine layers at the end, a script through the last one.
MERGED = {"no relu after conv"}
MONOTONE = {
    "sigmoid": ("64", "layer dense(24)  layer sigmoid  layer dense(10)"),
    "tanh and relu": (
        "64",
        "layer dense(24)  layer tanh  layer dense(16)  layer relu  layer dense(10)",
    ),
    "pools": (
        "1, 8, 8",
        "layer conv(4, kernel = 3)  layer max_pool(kernel = 2)  layer average_pool(kernel = 3)"
        "  layer flatten  layer dense(10)",
    ),
}


def case(
    networks: dict[str, tuple[str, str]], name: str, folder: Path, lines: str = SHI
) -> tuple[ModuleType, tuple[int, ...]]:
    """The script of a network, and the shape of one input."""
    shape, layers = networks[name]
    script = module_of(script_of(spec_of(lines, layers=layers, shape=shape)), folder)
    return script, tuple(int(n) for n in shape.split(","))


Claim = tuple[Tensor, Tensor, Tensor, Tensor]


def with_engine(
    script: ModuleType, shape: tuple[int, ...], seed: int
) -> tuple[nn.Module, Claim, CompiledGraph, InputRegion, Tensor]:
    """A random network with its claim, and the same for the engine."""
    net: nn.Module = drawn(script.model(), seed)
    compiled = compile_graph(load_module(net, [(1, *shape)], "net", check=False).graph)
    net.double()
    for part in net.modules():
        if type(part).__name__ == "Normalize":
            part.mean, part.std = part.mean.double(), part.std.double()
    x, y = samples(shape, seed)
    claim = script.robust(x, y, r=0.05)
    lower, upper, rows, _ = claim
    return net, claim, compiled, InputRegion(Interval(lower, upper)), rows


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", NETWORKS)
def test_intervals_and_crown_ibp_are_those_of_the_engine(
    name: str, seed: int, tmp_path: Path
) -> None:
    script, shape = case(NETWORKS, name, tmp_path)
    net, claim, compiled, region, rows = with_engine(script, shape, seed)
    bounds, boxes = script.intervals(net, claim)
    engine = METHODS["interval"].lower(compiled, region, rows)
    if name in MERGED:
        assert (bounds <= engine + 1e-5).all()
    else:
        close(bounds, engine)
    close(script.crown(net, claim, boxes), crown_ibp_lower(compiled, rows, region))


@pytest.mark.parametrize("name", MONOTONE)
def test_intervals_go_through_functions_that_fall_nowhere(name: str, tmp_path: Path) -> None:
    lines = "minimize certified_loss(robust, r = r)"
    script, shape = case(MONOTONE, name, tmp_path, lines)
    net, claim, compiled, region, rows = with_engine(script, shape, 0)
    close(script.intervals(net, claim)[0], METHODS["interval"].lower(compiled, region, rows))
    assert not hasattr(script, "crown")


@pytest.mark.parametrize("name", ["dense", "conv", "normalize"])
def test_regularisers_are_those_of_the_runtime(name: str, tmp_path: Path) -> None:
    script, shape = case(NETWORKS, name, tmp_path)
    net, claim, compiled, region, _ = with_engine(script, shape, 1)
    boxes = script.intervals(net, claim)[1]
    found = intervals(compiled, region)
    for tau in (0.5, 0.9):
        close(
            script.shi(claim, boxes, relu=0, tightness=1, tau=tau),
            shi_tightness(compiled, found, tau),
        )
        close(
            script.shi(claim, boxes, relu=1, tightness=0, tau=tau), shi_relu(compiled, found, tau)
        )
    close(script.relu_stability(boxes), relu_stability(compiled, found))


def test_bounds_hold_at_points_for_claims_with_one_set_of_rows(tmp_path: Path) -> None:
    lines = "minimize certified_loss(low, r = r, by = crown_ibp)"
    shape, layers = NETWORKS["conv"]
    script = module_of(script_of(spec_of(lines, layers=layers, shape=shape)), tmp_path)
    net = drawn(script.model(), 0).double()
    x, y = samples((1, 8, 8), 0)
    claim = script.low(x, y, r=0.05)
    bounds, boxes = script.intervals(net, claim)
    tighter = script.crown(net, claim, boxes)
    for _ in range(50):
        points = claim[0] + (claim[1] - claim[0]) * torch.rand_like(claim[0])
        margins = script.margins_at(net, claim, points)
        assert (margins >= bounds - 1e-9).all()
        assert (margins >= tighter - 1e-9).all()


@pytest.mark.parametrize(
    ("layers", "named"),
    [
        ("layer dense(8)  layer gelu  layer dense(10)", "`gelu`"),
        ("layer dense(8)  layer dropout(0.5)  layer dense(10)", "`dropout`"),
        ("layer dense(10)  layer relu", "end in `relu`"),
        (
            "layer dense(64)  skip add(from = input, by = relu)  layer dense(10)",
            "`relu` on a skip",
        ),
    ],
)
def test_layers_without_bounds_are_refused(layers: str, named: str) -> None:
    with pytest.raises(SpecError, match="E0901") as error:
        script_of(spec_of("minimize certified_loss(robust, r = r)", layers=layers))
    assert named in str(error.value)


def test_crown_ibp_is_refused_where_a_layer_has_no_lines() -> None:
    lines = "minimize certified_loss(robust, r = r, by = crown_ibp)"
    with pytest.raises(SpecError, match="through the layer `sigmoid`"):
        script_of(spec_of(lines, layers=MONOTONE["sigmoid"][1]))


def close(found: Tensor, expected: Tensor) -> None:
    assert torch.allclose(found, expected.to(found), rtol=0, atol=1e-5)
