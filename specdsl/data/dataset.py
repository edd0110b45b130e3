"""`Dataset`: labelled samples as they stand in the files, and exact single samples of it."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from specdsl.diagnostics import SpecError

ExactArray = npt.NDArray[np.object_]
Labels = npt.NDArray[np.int64] | npt.NDArray[np.float64]
"""(n,): classes, or numbers where a network predicts one."""


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """Samples in order.

    `inputs`: (n, *shape), uint8 and other integers or float32/float64, as read; `labels`: (n,)
    int64 classes or float64 targets, or None. What a spec sees of an input is
    `scale * input + shift`, computed exactly.
    """

    inputs: npt.NDArray[np.generic]
    labels: Labels | None
    scale: Fraction = Fraction(1)
    shift: Fraction = Fraction(0)

    def __len__(self) -> int:
        return self.inputs.shape[0]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one input."""
        return self.inputs.shape[1:]

    def input(self, index: int) -> ExactArray:
        """One input, scaled and shifted, in exact rationals (floats at their binary value).

        Raises IndexError outside the data.
        """
        if not 0 <= index < len(self):
            raise IndexError(index)
        result = np.empty(self.shape, dtype=object)
        flat = result.reshape(-1)
        # Pixels repeat: each distinct value is scaled once.
        seen: dict[int | float, Fraction] = {}
        for i, value in enumerate(self.inputs[index].reshape(-1).tolist()):
            if value not in seen:
                seen[value] = self.scale * Fraction(value) + self.shift
            flat[i] = seen[value]
        return result

    def label(self, index: int) -> Fraction | None:
        """The class, or the target, of one sample; None where there are none."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        return None if self.labels is None else Fraction(self.labels[index].item())


def make_dataset(
    inputs: npt.NDArray[np.generic],
    labels: npt.NDArray[np.generic] | None,
    source: str,
    *,
    numbers: bool = False,
) -> Dataset:
    """A dataset from two arrays that were read from `source`.

    `numbers`: the labels are targets, any numbers. Raises SpecError (no span): E0510 not numbers,
    E0511 NaN or infinite entries, E0512 counts that differ, E0513 labels that are no whole numbers.
    """
    if inputs.ndim < 1 or inputs.dtype.kind not in "biuf":
        raise SpecError.of("E0510", f"the inputs of {source} are no array of numbers")
    if 0 in inputs.shape[1:]:
        # Billions of them would take no byte of the file.
        raise SpecError.of("E0510", f"the samples of {source} hold nothing")
    if inputs.dtype.kind == "f":
        bad = ~np.isfinite(inputs).all(axis=tuple(range(1, inputs.ndim)))
        if bad.any():
            raise SpecError.of(
                "E0511", f"sample {int(np.argmax(bad))} of {source} holds NaN or infinity"
            )
        # float16 and long doubles: every value a float64 holds exactly, or is rounded to.
        if inputs.dtype.itemsize not in (4, 8):
            inputs = inputs.astype(np.float64)
    if labels is None:
        return Dataset(inputs, None)
    return Dataset(inputs, _labels(labels, len(inputs), source, numbers=numbers))


def _labels(labels: npt.NDArray[np.generic], count: int, source: str, *, numbers: bool) -> Labels:
    if labels.ndim == 2 and 1 in labels.shape:
        labels = labels.reshape(-1)
    if labels.ndim != 1 or labels.dtype.kind not in "biuf":
        wanted = "numbers" if numbers else "whole numbers"
        raise SpecError.of("E0513", f"the labels of {source} are no list of {wanted}")
    if len(labels) != count:
        message = f"{source} holds {count} inputs but {len(labels)} labels"
        raise SpecError.of("E0512", message)
    if numbers:
        targets = labels.astype(np.float64)
        if not np.isfinite(targets).all():
            where = int(np.argmin(np.isfinite(targets)))
            raise SpecError.of("E0511", f"the target {where} of {source} is NaN or infinite")
        return targets
    with np.errstate(invalid="ignore"):
        whole = labels.astype(np.int64)
    if bool((whole != labels).any()):
        where = int(np.argmax(whole != labels))
        raise SpecError.of("E0513", f"label {where} of {source} is {labels[where]}, not a class")
    return whole
