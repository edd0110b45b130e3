"""Rows that read only a window of a convolutional value, kept as small as the window.

One entry behind some convolutions depends on a patch of the input. Walking backward from it, the
coefficients on each value fill a window: its place differs from row to row, its size does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor

from specdsl.bounds.rows.convolve import spread
from specdsl.bounds.rows.rows import DenseRows, Rows
from specdsl.graph import ops
from specdsl.graph.ops import Shape


@dataclass(frozen=True, eq=False)
class Windows:
    """One window for each row on a value of `shape`, (1, channels, *extents).

    `origins` (patches, axes): the first place of each patch that a window covers; it may reach
    beyond the value. `patch_of` (rows,): the patch of each row. Many rows share one, as rows of
    different channels do, and what a patch is and sees is found out once. `sizes`: the extents of
    windows. `axes`: where the value itself lies transposed, which of its axes are those of `shape`.
    """

    origins: Tensor
    patch_of: Tensor
    sizes: Shape
    shape: Shape
    axes: tuple[int, ...] | None = None

    def fits(self, shape: Shape) -> bool:
        """Whether the value lies as `shape` says, not transposed."""
        return self.shape == shape and self.axes is None

    def transposed(self, axes: tuple[int, ...]) -> Windows:
        """The same behind a transposition: `axes` of the value before it are those of this one."""
        found = axes if self.axes is None else tuple(axes[a] for a in self.axes)
        same = found == tuple(range(len(found)))
        return replace(self, axes=None if same else found)

    def take(self, index: Tensor) -> Windows:
        """Those of the rows at these positions."""
        return replace(self, patch_of=self.patch_of[index])

    @classmethod
    def joined(cls, parts: Sequence[Windows]) -> Windows:
        """Of rows one after the other, on one value."""
        counts = [0, *accumulate(len(part.origins) for part in parts)]
        patch_of = torch.cat([p.patch_of + n for p, n in zip(parts, counts, strict=False)])
        return replace(parts[0], origins=torch.cat([p.origins for p in parts]), patch_of=patch_of)

    @property
    def row_origins(self) -> Tensor:
        """The first place of the window of each row: (rows, axes)."""
        return self.origins.index_select(0, self.patch_of)

    def same_as(self, other: Windows) -> bool:
        """Whether the rows of both read the same entries in the same order."""
        alike = (self.sizes, self.shape, self.axes) == (other.sizes, other.shape, other.axes)
        return alike and torch.equal(self.row_origins, other.row_origins)

    def distance(self, other: Windows) -> list[int] | None:
        """From the origins of these windows to those of others; None where it is not the same in
        all rows.
        """
        if self.patch_of is other.patch_of:
            distance = other.origins - self.origins
        else:
            distance = other.row_origins - self.row_origins
        return distance[0].tolist() if bool((distance == distance[:1]).all()) else None

    @property
    def part(self) -> float:
        """Of the whole value, the part a window covers."""
        return prod(self.sizes) / prod(self.shape[2:])

    @cached_property
    def flat(self) -> Tensor:
        """Row-major position in the extents of every place of the patches, the nearest one for
        places beyond: (patches, *sizes).
        """
        at = self.origins.new_zeros(())
        for axis, extent in enumerate(self.shape[2:]):
            at = at * extent + self._along(axis).clamp(0, extent - 1)
        return at.expand(-1, *self.sizes)

    @cached_property
    def inside(self) -> Tensor | None:
        """Whether each place is one of the value, (patches, *sizes); None where all are."""
        within = torch.ones((), dtype=torch.bool, device=self.origins.device)
        for axis, extent in enumerate(self.shape[2:]):
            along = self._along(axis)
            within = within & (along >= 0) & (along < extent)
        return None if bool(within.all()) else within.expand(-1, *self.sizes)

    def _along(self, axis: int) -> Tensor:
        """The place along one axis, in a shape that broadcasts to (patches, *sizes)."""
        size = self.sizes[axis]
        at = self.origins[:, axis, None] + torch.arange(size, device=self.origins.device)
        others = (size if i == axis else 1 for i in range(len(self.sizes)))
        return at.reshape(at.shape[0], *others)

    def read(self, value: Tensor) -> Tensor:
        """What the windows see: (batch, *any shape with these entries in row-major order) to
        (batch, rows, channels, *sizes).

        At places beyond the value it is the value at the nearest place, to be multiplied by 0.
        """
        if self.axes is not None:
            own = (self.shape[self.axes.index(i)] for i in range(len(self.axes)))
            value = value.reshape(value.shape[0], *own)
            value = value.permute(0, *(a + 1 for a in self.axes))
        whole = value.reshape(value.shape[0], self.shape[1], -1)
        seen = whole.index_select(2, self.flat.flatten()).unflatten(2, self.flat.shape)
        return seen.movedim(1, 2).index_select(1, self.patch_of)

    def places(self, positions: Tensor) -> Tensor:
        """Where in its row's window each position of the value lies, row-major.

        Positions count row-major through the value, (batch, rows, channels, *any); the channel is
        dropped. One outside the window gives some place in it.
        """
        rest = positions % prod(self.shape[2:])
        lead = (1, -1, 1, *(1 for _ in positions.shape[3:]))
        found, step = torch.zeros_like(rest), 1
        origins = self.row_origins
        for axis in reversed(range(len(self.sizes))):
            extent, size = self.shape[2 + axis], self.sizes[axis]
            along = rest % extent - origins[:, axis].reshape(lead)
            found = found + step * along.clamp(0, size - 1)
            rest, step = rest // extent, step * size
        return found


@dataclass(frozen=True, slots=True, eq=False)
class WindowRows(Rows):
    """Rows with `coefficients` in their windows and 0 elsewhere.

    Shape: (batch or 1, rows, channels, *sizes); 0 at places beyond the value.
    """

    coefficients: Tensor
    windows: Windows

    @classmethod
    def padded(cls, coefficients: Tensor, windows: Windows) -> WindowRows:
        """Rows that give something at places beyond the value, where there is nothing but zeros."""
        if windows.inside is None:
            return cls(coefficients, windows)
        inside = windows.inside.to(coefficients.dtype).index_select(0, windows.patch_of)
        return cls(coefficients * inside[:, None], windows)

    def read(self, value: Tensor) -> Tensor:
        """What the windows see."""
        return self.windows.read(value)

    def having(self, coefficients: Tensor) -> WindowRows:
        """Other coefficients in the same windows."""
        return WindowRows(coefficients, self.windows)

    def take(self, index: Tensor) -> WindowRows:
        """The rows at these positions."""
        return WindowRows(self.coefficients[:, index], self.windows.take(index))

    def at(self, value: Tensor) -> Tensor:
        """The rows at a value."""
        return (self.coefficients * self.read(value)).flatten(2).sum(2)

    def dense(self) -> DenseRows:
        """Spread over the whole value."""
        shape = self.windows.shape
        batch, rows, channels = self.coefficients.shape[:3]
        whole = self.coefficients.new_zeros(batch, rows, channels, prod(shape[2:]))
        index = self.windows.flat.flatten(1).index_select(0, self.windows.patch_of)
        index = index[None, :, None].expand(batch, rows, channels, -1)
        whole.scatter_add_(3, index, self.coefficients.flatten(3))
        whole = whole.reshape(batch, rows, *shape)
        axes = self.windows.axes
        if axes is None:
            return DenseRows(whole)
        back = (axes.index(i) + 2 for i in range(len(axes)))
        return DenseRows(whole.permute(0, 1, *back))

    def plus(self, other: WindowRows) -> WindowRows | None:
        """The sum, in windows that hold both; None where they do not lie alike in all rows, or on
        values of different shape.
        """
        if (self.windows.shape, self.windows.axes) != (other.windows.shape, other.windows.axes):
            return None
        distance = self.windows.distance(other.windows)
        if distance is None:
            return None
        mine: list[int] = []
        theirs: list[int] = []
        firsts: list[int] = []
        sizes: list[int] = []
        for start, own, new in zip(distance, self.windows.sizes, other.windows.sizes, strict=True):
            first, end = min(0, start), max(own, start + new)
            # F.pad counts axes from the last one.
            mine[:0] = [-first, end - own]
            theirs[:0] = [start - first, end - start - new]
            firsts.append(first)
            sizes.append(end - first)
        total = F.pad(self.coefficients, mine) + F.pad(other.coefficients, theirs)
        origins = self.windows.origins + self.windows.origins.new_tensor(firsts)
        return WindowRows(total, replace(self.windows, origins=origins, sizes=tuple(sizes)))

    def through(self, op: ops.Conv, weight: Tensor, operand: Shape) -> WindowRows:
        """The rows as functions of the operand of a convolution, whose shape is `operand`."""
        reached = spread(op, self.coefficients.flatten(0, 1), weight)
        reached = reached.unflatten(0, self.coefficients.shape[:2])
        old = self.windows
        strides = old.origins.new_tensor(op.strides)
        pads = old.origins.new_tensor([pad[0] for pad in op.pads])
        sizes = tuple(reached.shape[3:])
        windows = Windows(old.origins * strides - pads, old.patch_of, sizes, operand)
        return WindowRows.padded(reached, windows)


def aligned(rows: WindowRows, op: ops.ConvTranspose) -> tuple[Tensor, Tensor]:
    """Windows on the result of a transposed convolution, moved within larger ones so that each
    begins where the kernel of an entry of the operand does: `firsts` (patches, axes), these
    entries, and the coefficients, ready to be convolved.
    """
    windows = rows.windows
    found, firsts = rows.coefficients, torch.empty_like(windows.origins)
    for axis, (size, stride, (pad, _)) in enumerate(
        zip(windows.sizes, op.strides, op.pads, strict=True)
    ):
        reach = op.dilations[axis] * (op.weight.shape[2 + axis] - 1)
        # Before anything was cut off; the first kernel that ends there or later.
        place = windows.origins[:, axis] + pad
        firsts[:, axis] = torch.div(place - reach, stride, rounding_mode="floor")
        shift = place - stride * firsts[:, axis]
        count = (stride + reach + size - 2) // stride + 1
        extent = (count - 1) * stride + reach + 1
        at = torch.arange(extent, device=shift.device) - shift[windows.patch_of, None]
        here = (at >= 0) & (at < size)
        others = [extent if i == axis else 1 for i in range(len(windows.sizes))]
        shape = (*found.shape[: 3 + axis], extent, *found.shape[4 + axis :])
        index = at.clamp(0, size - 1).reshape(1, -1, 1, *others).expand(shape)
        found = found.gather(3 + axis, index) * here.reshape(1, -1, 1, *others)
    return firsts, found


def one_hot(positions: Tensor, shape: Shape, like: Tensor) -> WindowRows:
    """Row r is entry `positions[r]` (row-major) of a value of `shape`, (1, channels, *extents)."""
    extents = shape[2:]
    rows, size = positions.numel(), prod(extents)
    coefficients = like.new_zeros(1, rows, shape[1], *(1 for _ in extents))
    row = torch.arange(rows, device=positions.device)
    coefficients[0, row, positions // size] = 1.0
    rest, patch_of = torch.unique(positions % size, return_inverse=True)
    origins: list[Tensor] = []
    for extent in reversed(extents):
        origins.insert(0, rest % extent)
        rest = rest // extent
    windows = Windows(torch.stack(origins, 1), patch_of, tuple(1 for _ in extents), shape)
    return WindowRows(coefficients, windows)
