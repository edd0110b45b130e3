"""`specdsl.bound`: the bound engine on its own, arrays in and arrays out."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path
from types import MappingProxyType
from typing import NoReturn

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from specdsl.backend import Unsupported
from specdsl.bounds.compiled import CompiledGraph, compile_graph
from specdsl.bounds.devices import full_precision
from specdsl.bounds.interval import EmptyInterval, Interval
from specdsl.bounds.methods import METHODS, BoundMethod, RowBounds
from specdsl.bounds.regions.given import Box, NormBall, Region
from specdsl.bounds.regions.given_arrays import numbers, stacked
from specdsl.bounds.regions.given_regions import GivenRegion, read_region
from specdsl.bounds.regions.region import InputRegion
from specdsl.bounds.rounding import region_slack
from specdsl.diagnostics import SpecError, suggestion
from specdsl.files import read_bytes
from specdsl.graph.graph import Graph, NodeId
from specdsl.graph.onnx_import.load import ImportedNetwork, load_onnx
from specdsl.graph.ops import Shape
from specdsl.graph.rewrites.simplify import simplify, simplify_exactly
from specdsl.graph.torch_import.load import load_module

FloatArray = npt.NDArray[np.floating]

# Where nothing is said of rows, they are the entries of the output, this many coefficients at a
# time (32 MiB of float64): all of them would be a matrix as wide as it is high.
MAX_UNIT_COEFFICIENTS = 2**22

DTYPES = {"float64": torch.float64, "float32": torch.float32}


@dataclass(frozen=True, slots=True, eq=False)
class LayerBounds:
    """`lower <= value <= upper` of one node: (*node), or (batch, *node) for a batch of regions."""

    lower: FloatArray
    upper: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class NetworkBounds:
    """`lower <= f(x) <= upper` for all x of the region, f the output or the rows asked for.

    Shapes: (*output) or (rows,), for a batch of regions with the batch axis in front. `layers`: of
    every value that a nonlinear op reads, if asked for, by the node's name.
    """

    lower: FloatArray
    upper: FloatArray
    methods: tuple[str, ...]
    layers: Mapping[str, LayerBounds] = field(default_factory=dict[str, LayerBounds])


def bound(  # noqa: PLR0913 - what varies between calls, each with a default but the first two
    network: str | Path | torch.nn.Module | Graph | ImportedNetwork,
    region: Region,
    method: str | Sequence[str] = "crown",
    rows: npt.ArrayLike | None = None,
    *,
    layers: bool = False,
    input_shape: Sequence[int] | None = None,
    dtype: str = "float64",
    device: str = "cpu",
) -> NetworkBounds:
    """Bounds of a network's output over a region of inputs that hold for every one of its points.

    `network`: the path of an ONNX file, a PyTorch module in evaluation mode, or a graph; with one
    input and one output. A file and a module are compared with what runs them on random points
    first, so one that is bounded often is better read once (`load_onnx`, `load_module`).
    `region`: a `Box`, a `NormBall` or a pair (lower, upper), one or a batch. `method`: a name in
    `METHODS`, or several of them: the best of each. `rows`: linear functions of the flat output to
    bound instead of its entries, (rows, outputs) or (batch, rows, outputs); differences of two
    outputs are bounded tighter than from the bounds of both. `layers`: bounds of every value that a
    nonlinear op reads as well.
    `input_shape`: of one input of a module, without the batch axis; if not given, that of the
    region's arrays: all of it for one axis, all but the first where there are more. `dtype`:
    "float64" or "float32", which is faster and looser. `device`: as torch calls it.

    Bounds are less what rounding may have added to them in `dtype`. Arrays of the result have that
    dtype and the shapes that `NetworkBounds` says.

    Raises SpecError: E0870 for a region that is empty, unbounded or does not fit; E0871 for another
    argument that is none; E0855 where the network has an op without a rule, or one that may have no
    value; E0501 to E0504, E0600 to E0615 and E0630 where a network cannot be read.
    """
    names = (method,) if isinstance(method, str) else tuple(method)
    chosen = _methods(names)
    like = _like(dtype, device)
    graph = _one_to_one(_read(network, region, input_shape))
    with _explained(names), torch.no_grad(), full_precision():
        reference = simplify_exactly(graph)
        plain, compiled = (compile_graph(g, like) for g in (reference, simplify(reference)))
        _require_float64(compiled)
        given = read_region(region, _per_sample(graph.shapes[graph.input]), like)
        wanted = _read_rows(rows, graph, given, like)
        slack = region_slack(plain, given.region)
        ends = _output_ends(chosen, compiled, given.region, wanted, slack[graph.output])
        inner = _layers(chosen, plain, given.region) if layers else {}
    shape = _per_sample(graph.shapes[graph.output]) if wanted is None else (wanted.shape[1],)
    lower, upper = (_array(end.reshape(-1, *shape), given) for end in (ends.lower, ends.upper))
    found = {node: _layer(bounds, slack[node], given) for node, bounds in inner.items()}
    return NetworkBounds(lower, upper, names, MappingProxyType(found))


# --- arguments -----------------------------------------------------------------------------------


def _refuse(text: str, help: str | None = None) -> NoReturn:
    raise SpecError.of("E0871", text, help=help)


def _methods(names: Sequence[object]) -> list[BoundMethod]:
    listed = "methods are " + ", ".join(f"`{n}`" for n in METHODS)
    if not names:
        _refuse("no bounding method is named", listed)
    for name in names:
        if name not in METHODS:
            hint = suggestion(str(name), METHODS)
            help = f"{hint} {listed}" if hint else listed
            _refuse(f"there is no bounding method `{name}`", help)
    return [METHODS[str(name)] for name in names]


def _like(dtype: object, device: object) -> Tensor:
    if dtype not in DTYPES:
        _refuse(f"there is no number format `{dtype}`", "formats are `float64` and `float32`")
    try:
        return torch.empty(0, dtype=DTYPES[str(dtype)], device=str(device))
    except (RuntimeError, AssertionError) as error:
        # Torch built without a kind of device fails an assertion, and explains at length.
        help = "`cpu` is always there"
        raise SpecError.of("E0871", f"there is no device `{device}`", help=help) from error


def _read(network: object, region: object, input_shape: Sequence[int] | None) -> Graph:
    if isinstance(network, Graph):
        return network
    if isinstance(network, ImportedNetwork):
        return network.graph
    if isinstance(network, str | Path):
        return load_onnx(read_bytes(Path(network)), Path(network).name).graph
    if isinstance(network, torch.nn.Module):
        shape = _shape_of_region(region) if input_shape is None else tuple(input_shape)
        return load_module(network, [(1, *shape)], type(network).__name__).graph
    help = "give the path of an ONNX file, a `torch.nn.Module` or a graph"
    _refuse(f"the network is a `{type(network).__name__}`", help)


def _shape_of_region(region: object) -> Shape:
    match region:
        case Box():
            name, array = "lower", region.lower
        case NormBall():
            name, array = "center", region.center
        case (lower, _):
            name, array = "lower", lower
        case _:
            return (1,)  # No region at all: `read_region` says so.
    shape = numbers(name, array).shape
    return shape[1:] if len(shape) > 1 else shape


def _one_to_one(graph: Graph) -> Graph:
    for what, nodes in (("input", graph.inputs), ("output", graph.outputs)):
        if len(nodes) != 1:
            listed = ", ".join(f"`{n}`" for n in nodes)
            _refuse(f"the network has {len(nodes)} {what}s ({listed}), and not one")
    return graph


def _require_float64(compiled: CompiledGraph) -> None:
    if compiled.outward is not None and compiled.like.dtype != torch.float64:
        text = "the network has an op that may magnify rounding without limit"
        raise SpecError.of("E0855", text, help="bound it in float64")


def _per_sample(shape: Shape) -> Shape:
    """Without the batch axis that imported networks have."""
    return shape[1:] if len(shape) > 1 and shape[0] == 1 else shape


def _read_rows(
    rows: npt.ArrayLike | None, graph: Graph, given: GivenRegion, like: Tensor
) -> Tensor | None:
    """(batch or 1, rows, outputs); None for the entries of the output themselves."""
    outputs = graph.size(graph.output)
    if rows is None:
        return None
    found = stacked("rows", rows, (None, outputs), f"(rows, {outputs})")
    if found.is_batch and len(found.values) != given.region.batch:
        _refuse(f"`rows` is for {len(found.values)} regions, and there are {given.region.batch}")
    return torch.as_tensor(found.values, dtype=like.dtype, device=like.device)


@contextmanager
def _explained(names: Sequence[str]) -> Generator[None]:
    """What bounding raises, as diagnostics."""
    try:
        yield
    except Unsupported as error:
        text = f"`{', '.join(names)}` does not support {error.what}"
        raise SpecError.of("E0855", text, help=error.advice) from error
    except EmptyInterval as error:
        text = "no bounds: values on the way overflow, or constraints leave no point"
        raise SpecError.of("E0870", text, help="make the region smaller") from error


# --- results -------------------------------------------------------------------------------------


def _output_ends(
    methods: Sequence[BoundMethod],
    compiled: CompiledGraph,
    region: InputRegion,
    rows: Tensor | None,
    slack: Tensor,
) -> Interval:
    """Of the rows, or of all entries, moved outward by what rounding may hide: (batch, rows)."""
    bounding = [method.rows(compiled, region) for method in methods]
    parts = (rows,) if rows is not None else _units(compiled)
    found = [_rows_ends(bounding, compiled, part, slack) for part in parts]
    return Interval(
        torch.cat([ends.lower for ends in found], 1), torch.cat([ends.upper for ends in found], 1)
    )


def _units(compiled: CompiledGraph) -> Generator[Tensor]:
    """The entries of the output as rows, some at a time: (1, rows, outputs)."""
    size, like = compiled.graph.size(compiled.graph.output), compiled.like
    at_a_time = max(1, MAX_UNIT_COEFFICIENTS // size)
    for entries in torch.arange(size, device=like.device).split(at_a_time):
        rows = like.new_zeros(entries.numel(), size)
        yield rows.scatter_(1, entries[:, None], 1.0)[None]


def _rows_ends(
    bounding: Sequence[RowBounds], compiled: CompiledGraph, rows: Tensor, slack: Tensor
) -> Interval:
    shaped = torch.cat([rows, -rows], dim=1)
    shaped = shaped.reshape(*shaped.shape[:2], *compiled.graph.shapes[compiled.graph.output])
    found = torch.stack([bound_rows(shaped) for bound_rows in bounding])
    # A bound that is not a number says nothing.
    best = found.masked_fill(found.isnan(), -torch.inf).amax(0)
    least, negated = best.chunk(2, dim=1)
    hidden = (rows.abs() @ slack.flatten(1)[:, :, None])[..., 0]
    return Interval(least - hidden, hidden - negated)


def _layers(
    methods: Sequence[BoundMethod], compiled: CompiledGraph, region: InputRegion
) -> Mapping[NodeId, Interval]:
    found = [method.inside(compiled, region) for method in methods]
    return {
        node: reduce(Interval.intersect, (bounds[node] for bounds in found))
        for node in compiled.pre_activations
    }


def _layer(bounds: Interval, slack: Tensor, given: GivenRegion) -> LayerBounds:
    batch = given.region.batch
    lower, upper = (
        end.expand(batch, *end.shape[1:]) for end in (bounds.lower - slack, bounds.upper + slack)
    )
    return LayerBounds(
        *(_array(v.reshape(batch, *_per_sample(v.shape[1:])), given) for v in (lower, upper))
    )


def _array(values: Tensor, given: GivenRegion) -> FloatArray:
    """With the batch axis only where the region was given with one."""
    found = values.cpu().numpy()
    return found if given.is_batch else found[0]
