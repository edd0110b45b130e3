"""Tensors of a certificate: each once, by the hash of its bytes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
import numpy.typing as npt

_NAMES = {"<f4": "f4", "<f8": "f8", "<i8": "i8"}


@dataclass(slots=True)
class TensorTable:
    """Records as a header lists them, and their bytes by hash."""

    records: list[dict[str, object]] = field(default_factory=list[dict[str, object]])
    content: dict[str, bytes] = field(default_factory=dict[str, bytes])
    _known: dict[tuple[str, str, tuple[int, ...]], int] = field(
        default_factory=dict[tuple[str, str, tuple[int, ...]], int]
    )

    def add(self, values: npt.ArrayLike) -> int:
        """The position of a tensor: floats and whole numbers as they are, rationals exactly."""
        array = np.asarray(values)
        if array.dtype == object:
            exact = [v if isinstance(v, Fraction) else Fraction(v) for v in array.reshape(-1)]
            kind, data = "q", "\n".join(map(str, exact)).encode("ascii")
        else:
            plain = _plain(array)
            kind, data = _NAMES[plain.dtype.str], plain.tobytes()
        name = hashlib.sha256(data).hexdigest()
        key = (kind, name, array.shape)
        if key not in self._known:
            self._known[key] = len(self.records)
            self.records.append({"dtype": kind, "shape": list(array.shape), "sha256": name})
            self.content[name] = data
        return self._known[key]


def _plain(array: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    """Little-endian and contiguous, of one of the three types; nothing is rounded."""
    if array.dtype == np.float32:
        return np.ascontiguousarray(array, "<f4")
    if np.issubdtype(array.dtype, np.floating):
        return np.ascontiguousarray(array, "<f8")
    return np.ascontiguousarray(array, "<i8")
