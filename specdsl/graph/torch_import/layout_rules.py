"""Rules of the PyTorch import that only move entries.

Most of them need no formula: the op is run on the positions of the entries, and what it gives says
which entry goes where.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from specdsl.graph import composites, ops
from specdsl.graph.import_call import Computed
from specdsl.graph.torch_import.arithmetic_rules import Rule
from specdsl.graph.torch_import.call import AtenCall, Result, Value

Positions = npt.NDArray[np.int64]


def reshape(call: AtenCall) -> Result:
    """The same entries under the shape of the result."""
    x = call.operand("input" if "input" in call.arguments else "self")
    if isinstance(x, torch.Tensor):
        return x.reshape(call.shape)
    return call.reshape(x, call.shape)


def permute(call: AtenCall) -> Result:
    """Axes in the order of `dims`."""
    x = call.computed()
    axes = tuple(a % len(x.shape) for a in call.integers("dims"))
    return call.composed(composites.transpose, x, axes=axes)


def transpose(call: AtenCall) -> Result:
    """Two axes swapped; `t` of a matrix."""
    x = call.computed()
    rank = len(x.shape)
    axes = list(range(rank))
    names = ("dim0", "dim1") if "dim0" in call.arguments else ("axis0", "axis1")
    if names[0] in call.arguments:
        first, second = (call.axis(name, rank) for name in names)
    else:
        first, second = (0, 1) if rank == 2 else (0, 0)
    if rank:
        axes[first], axes[second] = second, first
    return call.composed(composites.transpose, x, axes=tuple(axes))


def moved(call: AtenCall) -> Result:
    """Entries of `self` where the op puts them."""
    return by_positions(call, "input" if "input" in call.arguments else "self", torch.int64)


def moved_as_floats(call: AtenCall) -> Result:
    """The same for ops that PyTorch has for floats only: positions are exact in float32."""
    return by_positions(call, "input" if "input" in call.arguments else "self", torch.float32)


def by_positions(call: AtenCall, name: str, dtype: torch.dtype) -> Result:
    """Run the op on positions; several results are several selections."""
    x = call.computed(name)
    others = {n: _fixed(call, n, v) for n, v in call.arguments.items() if n != name}
    call.guard_size(call.shape)
    places = torch.from_numpy(composites.positions(x.shape)).to(dtype)
    given = run(call, {name: places, **others})
    if isinstance(given, list | tuple):
        return tuple(_selected(call, x, part) for part in given)
    return _selected(call, x, given)


def _fixed(call: AtenCall, name: str, value: Any) -> Any:
    """An argument that says where entries go. Of an `other` only the shape matters."""
    parts = value if isinstance(value, list | tuple) else [value]
    if name == "other" and isinstance(value, Computed):
        return torch.zeros(value.shape)
    if any(isinstance(part, Computed) for part in parts):
        call.refuse(
            f"`{name}` is computed, so that it depends on the input which entries are taken"
        )
    return value


def _selected(call: AtenCall, x: Computed, places: torch.Tensor) -> Computed:
    indices = places.to(torch.int64).cpu().numpy().copy()
    call.guard_size(indices.shape)
    found = call.composed(composites.select, x, indices=indices)
    return call.typed(found, x.element)


def run(call: AtenCall, arguments: Mapping[str, Any]) -> Any:
    """The op itself on other arguments."""
    with torch.no_grad():
        return call.target(**arguments)


# --- several operands ----------------------------------------------------------------------------


def concatenate(call: AtenCall) -> Result:
    """One after another along an axis."""
    parts = [_as_node(call, v) for v in call.arguments["tensors"]]
    # PyTorch skips empty vectors whatever the shapes of the others.
    parts = [p for p in parts if p.shape != (0,)]
    if len(parts) == 1:
        return parts[0]
    return call.add(ops.Concat(call.axis("dim", len(call.shape))), *parts)


def stack(call: AtenCall) -> Result:
    """One after another along a new axis."""
    axis = call.axis("dim", len(call.shape))
    extent = (*call.shape[:axis], 1, *call.shape[axis + 1 :])
    parts = [call.reshape(_as_node(call, v), extent) for v in call.arguments["tensors"]]
    return parts[0] if len(parts) == 1 else call.add(ops.Concat(axis), *parts)


def _as_node(call: AtenCall, value: Value) -> Computed:
    return value if isinstance(value, Computed) else call.constant_node(value)


def written(call: AtenCall) -> Result:
    """Entries of `self` with some replaced by those of another tensor, or by a number."""
    if call.flag("accumulate") or call.arguments.get("reduce") is not None:
        call.refuse("adding to entries")
    source = next(n for n in ("src", "values", "source", "value") if n in call.arguments)
    given = call.arguments[source]
    if not isinstance(given, Computed | torch.Tensor):
        given = torch.tensor(call.number(source))
        # Overloads with a number write it everywhere: position 0 of what is behind `self`.
    x = call.computed()
    other = _as_node(call, given)
    fixed = {n: _fixed(call, n, v) for n, v in call.arguments.items() if n not in {"self", source}}
    behind = x.size + composites.positions(other.shape)
    arguments = {
        "self": torch.from_numpy(composites.positions(x.shape)),
        source: torch.from_numpy(behind) if _takes_tensor(call, source) else x.size,
        **fixed,
    }
    joined = call.add(ops.Concat(0), *(call.reshape(v, (v.size,)) for v in (x, other)))
    return _selected(call, joined, run(call, arguments))


def _takes_tensor(call: AtenCall, name: str) -> bool:
    return isinstance(call.arguments[name], Computed | torch.Tensor)


# --- padding -------------------------------------------------------------------------------------


def pad(call: AtenCall) -> Result:
    """Around the entries: a constant, concatenated on each side, or copies of entries."""
    if call.arguments.get("mode", "constant") != "constant":
        return moved_as_floats(call)
    x = call.computed()
    flat = call.integers("pad")
    fill = call.number("value", 0.0)
    rank = len(x.shape)
    # Listed from the last axis on: begin, end.
    sides = {rank - 1 - i // 2: (flat[i], flat[i + 1]) for i in range(0, len(flat), 2)}
    x = _cropped(call, x, sides)
    for axis in sorted(sides):
        begin, end = (_border(call, x, axis, width, fill) for width in sides[axis])
        parts = [p for p in (begin, x, end) if p is not None]
        x = call.add(ops.Concat(axis), *parts) if len(parts) > 1 else x
    return x


def _cropped(call: AtenCall, x: Computed, sides: Mapping[int, tuple[int, int]]) -> Computed:
    """A negative width takes entries away."""
    places = composites.positions(x.shape)
    for axis, (begin, end) in sides.items():
        stop = x.shape[axis] + min(end, 0)
        places = np.take(places, np.arange(max(-begin, 0), stop), axis=axis)
    return call.composed(composites.select, x, indices=places)


def _border(call: AtenCall, x: Computed, axis: int, width: int, fill: float) -> Computed | None:
    if width <= 0:
        return None
    extent = (*x.shape[:axis], width, *x.shape[axis + 1 :])
    call.guard_size(extent)
    return call.add(ops.Constant(np.full(extent, fill, dtype=np.float32)))


# --- what depends on shapes alone ----------------------------------------------------------------


def fixed(call: AtenCall) -> Result:
    """A constant made after the shape and type of a computed value."""
    stand_ins = {
        n: torch.zeros(v.shape, dtype=torch.from_numpy(np.empty(0, dtype=v.element)).dtype)
        if isinstance(v, Computed)
        else v
        for n, v in call.arguments.items()
    }
    if isinstance(call.arguments.get("value"), Computed):
        return call.composed(composites.broadcast, call.computed("value"), shape=call.shape)
    return run(call, stand_ins)


def copied(call: AtenCall) -> Result:
    """The source in place of what was there."""
    x = call.computed("src")
    return call.typed(call.composed(composites.broadcast, x, shape=call.shape))


def masked(call: AtenCall) -> Result:
    """`tril`, `triu`: entries kept, or set to 0."""
    x = call.computed()
    mask = run(call, {**call.arguments, "self": torch.ones(x.shape)})
    return call.composed(composites.affine, x, scale=mask.numpy().copy())


def _all(rule: Rule, names: str) -> dict[str, Rule]:
    return dict.fromkeys(names.split(), rule)


RULES: dict[str, Rule] = {
    **_all(reshape, "_reshape_copy _unsafe_view flatten ravel reshape squeeze unflatten"),
    **_all(reshape, "unsqueeze view view_as reshape_as"),
    **_all(transpose, "t transpose swapaxes"),
    **_all(moved, "as_strided channel_shuffle chunk diagonal expand expand_as flip gather index"),
    **_all(moved, "index_select mT movedim narrow permute_copy pixel_shuffle pixel_unshuffle"),
    **_all(moved, "repeat repeat_interleave roll rot90 select slice split split_with_sizes"),
    **_all(moved, "swapdims take_along_dim tensor_split tile unbind unfold"),
    **_all(moved_as_floats, "reflection_pad1d reflection_pad2d reflection_pad3d"),
    **_all(moved_as_floats, "replication_pad1d replication_pad2d replication_pad3d"),
    **_all(moved_as_floats, "upsample_nearest1d upsample_nearest2d upsample_nearest3d"),
    **_all(moved_as_floats, "_upsample_nearest_exact1d _upsample_nearest_exact2d"),
    **_all(fixed, "empty_like fill full_like new_empty new_full new_ones new_zeros ones_like"),
    **_all(fixed, "zeros_like"),
    **_all(masked, "tril triu"),
    **_all(pad, "constant_pad_nd pad"),
    **_all(written, "index_put scatter select_scatter slice_scatter diagonal_scatter"),
    "cat": concatenate,
    "copy": copied,
    "permute": permute,
    "stack": stack,
}
"""Rules by the name of the ATen op, without its overload."""
