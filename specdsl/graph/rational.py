"""Tensors of rational numbers: integers over one common denominator.

Dense and convolutional layers, where nearly all the work of an exact evaluation lies, are computed
by float64 matrix products that cannot round: integers are cut into limbs of a few bits, so that
every sum of products of limbs stays below 2**53, and the partial results are put together as Python
integers. (The idea is that of multi-limb products with error-free splitting, as in Ozaki et al.
2012, doi:10.1007/s11075-011-9478-1.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fractions import Fraction
from math import lcm, prod
from typing import Any

import numpy as np
import numpy.typing as npt

from specdsl.graph import ops

ExactArray = npt.NDArray[np.object_]
IntegerArray = npt.NDArray[np.object_]
FloatArray = npt.NDArray[np.float64]

# Integers up to 2**53 are float64 numbers, and so are all partial sums below it, in any order.
MANTISSA_BITS = 53
# Widths of limbs, best first: whole bytes, so that they are cut out of Python integers fast. Two
# bytes leave room for 2**21 terms in one sum, one byte for 2**37.
LIMB_BITS = (16, 8)


@dataclass(frozen=True, slots=True, eq=False)
class Exact:
    """The tensor `numerators / denominator`: Python integers, denominator > 0.

    Entries are never numpy integers, which wrap around. numpy turns arrays without axes into bare
    numbers wherever it computes with them; the constructor turns them back.
    """

    numerators: IntegerArray
    denominator: int

    def __post_init__(self) -> None:
        numerators: Any = self.numerators
        if not isinstance(numerators, np.ndarray):
            if type(numerators) is not int:
                raise TypeError(f"numerators are {type(numerators).__name__}, not integers")
            object.__setattr__(self, "numerators", integers([numerators], ()))
        elif numerators.dtype != object:
            raise TypeError(f"numerators are {numerators.dtype}, not Python integers")

    @classmethod
    def of(cls, values: ops.Array) -> Exact:
        """An array of floats (taken as the dyadic rationals they are) or of `Fraction`s."""
        if values.dtype != object:
            return _dyadic(values)
        fractions = [Fraction(v) for v in values.reshape(-1)]
        denominator = lcm(*(f.denominator for f in fractions))
        numerators = [f.numerator * (denominator // f.denominator) for f in fractions]
        return cls(integers(numerators, values.shape), denominator)

    def fractions(self) -> ExactArray:
        """The same tensor as an array of `Fraction`."""
        result = np.empty(self.numerators.shape, dtype=object)
        flat = result.reshape(-1)
        for i, numerator in enumerate(self.numerators.reshape(-1)):
            flat[i] = Fraction(numerator, self.denominator)
        return result

    def over(self, denominator: int) -> IntegerArray:
        """Numerators over a multiple of the denominator."""
        factor = denominator // self.denominator
        if factor == 1:
            return self.numerators
        scaled = (n * factor for n in self.numerators.reshape(-1).tolist())
        return integers(scaled, self.numerators.shape)

    def reduced(self) -> Exact:
        """The same tensor without a common factor of two; numbers stay as short as they can."""
        if self.denominator % 2:
            return self
        bits = int(np.bitwise_or.reduce(self.numerators, axis=None, initial=0)) | self.denominator
        shift = (bits & -bits).bit_length() - 1
        return Exact(self.numerators >> shift, self.denominator >> shift) if shift else self


# --- arithmetic ----------------------------------------------------------------------------------


def plus(a: Exact, b: Exact) -> Exact:
    """a + b, with broadcasting."""
    denominator = lcm(a.denominator, b.denominator)
    return Exact(a.over(denominator) + b.over(denominator), denominator)


def times(a: Exact, b: Exact) -> Exact:
    """a * b entry by entry, with broadcasting."""
    return Exact(a.numerators * b.numerators, a.denominator * b.denominator)


def integers(values: Iterable[int], shape: tuple[int, ...]) -> IntegerArray:
    """Python integers as an array of a shape, never converted to numpy's own."""
    flat = np.empty(prod(shape), dtype=object)
    flat[:] = list(values)
    return flat.reshape(shape)


def _dyadic(values: ops.Array) -> Exact:
    """Floats as integers over a power of two. Raises ValueError for NaN and infinity."""
    mantissas, exponents = _scaled(np.asarray(values, dtype=np.float64).reshape(-1))
    lowest = int(exponents.min(initial=0))
    shifts = (exponents - lowest).tolist()
    numerators = (m << s for m, s in zip(mantissas.tolist(), shifts, strict=True))
    return Exact(integers(numerators, values.shape), 1 << -lowest)


def _scaled(values: FloatArray) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Odd (or zero) integers and exponents with `values = integer * 2**exponent`."""
    if not np.isfinite(values).all():
        raise ValueError("a parameter is NaN or infinite")
    fraction, exponent = np.frexp(values)
    integer = np.ldexp(fraction, MANTISSA_BITS).astype(np.int64)
    lowest_bit = integer & -integer
    zeros = np.where(integer == 0, 0, np.frexp(lowest_bit.astype(np.float64))[1] - 1)
    exponent = np.where(integer == 0, 0, exponent.astype(np.int64) - MANTISSA_BITS + zeros)
    return integer >> zeros, exponent


# --- products without rounding -------------------------------------------------------------------


Kernel = Callable[[FloatArray, FloatArray], FloatArray]
"""(weight, values with a leading axis) to the linear map's results with the same leading axis."""


@dataclass(frozen=True, slots=True, eq=False)
class Limbs:
    """`sum_i digits[i] * 2**(bits * i + exponent) / denominator`, digits below 2**bits.

    digits: (limbs, *shape), integers of either sign as float64; at least one limb.
    """

    digits: FloatArray
    exponent: int
    denominator: int


def linear_map(kernel: Kernel, weight: ops.Array, x: Exact, terms: int) -> Exact:
    """A linear map applied exactly. `terms`: how many products are added up in one entry."""
    bits = next((b for b in LIMB_BITS if 2 * b + terms.bit_length() <= MANTISSA_BITS), None)
    if bits is None:
        raise ValueError(f"{terms} terms are too many for one exact sum")
    weights = _weight_limbs(weight, bits)
    values = _integer_limbs(x.numerators, bits)
    # Room for the carry of the last limb: 64 more bits hold any sum of int64 and its sign.
    positions = len(weights.digits) + len(values) + 64 // bits
    totals: npt.NDArray[np.int64] | None = None
    for i, digits in enumerate(weights.digits):
        if i == 0 or digits.any():
            partial = kernel(digits, values).astype(np.int64)
            if totals is None:
                totals = np.zeros((positions, *partial.shape[1:]), dtype=np.int64)
            totals[i : i + len(values)] += partial
    assert totals is not None
    numerators = _join(totals, bits)
    if weights.exponent > 0:
        numerators = numerators << weights.exponent
    denominator = x.denominator * weights.denominator * (1 << max(0, -weights.exponent))
    return Exact(numerators, denominator)


def _weight_limbs(weight: ops.Array, bits: int) -> Limbs:
    if weight.dtype == object:
        exact = Exact.of(weight)
        return Limbs(_integer_limbs(exact.numerators, bits), 0, exact.denominator)
    values = np.asarray(weight, dtype=np.float64)
    integer, exponent = _scaled(values)
    lowest = int(exponent.min(initial=0))
    used = np.frexp(np.abs(integer).astype(np.float64))[1] + exponent - lowest
    count = max(1, -(-int(used.max(initial=0)) // bits))
    digits = np.zeros((count, *values.shape))
    rest = values
    # Each step takes the leading bits of what is left: nothing is rounded.
    for i in range(count - 1, -1, -1):
        position = bits * i + lowest
        digits[i] = np.trunc(np.ldexp(rest, -position))
        rest = rest - np.ldexp(digits[i], position)
    return Limbs(digits, lowest, 1)


def _integer_limbs(integers: IntegerArray, bits: int) -> FloatArray:
    """Digits of Python integers, each with its integer's sign: (limbs, *shape)."""
    flat = integers.reshape(-1)
    longest = max((abs(n).bit_length() for n in flat), default=0)
    count = max(1, -(-longest // bits))
    size = count * bits // 8
    content = b"".join(abs(n).to_bytes(size, "little") for n in flat)
    digits = np.frombuffer(content, dtype=f"<u{bits // 8}").reshape(flat.size, count)
    signs = np.array([-1.0 if n < 0 else 1.0 for n in flat])
    return (digits.T * signs).reshape(count, *integers.shape)


def _join(totals: npt.NDArray[np.int64], bits: int) -> IntegerArray:
    """`sum_i totals[i] * 2**(bits * i)` as Python integers; the last limbs are room for carries."""
    count, shape = totals.shape[0], totals.shape[1:]
    digits = np.empty((count, prod(shape)), dtype=f"<u{bits // 8}")
    carry = np.zeros(prod(shape), dtype=np.int64)
    for i, limb in enumerate(totals.reshape(count, -1)):
        carry = carry + limb
        digits[i] = carry & ((1 << bits) - 1)
        carry = carry >> bits
    # Two's complement: what is left of the carry is the sign, and the last digit knows it.
    content = np.ascontiguousarray(digits.T).tobytes()
    size = count * bits // 8
    values = (
        int.from_bytes(content[i : i + size], "little", signed=True)
        for i in range(0, len(content), size)
    )
    return integers(values, shape)
