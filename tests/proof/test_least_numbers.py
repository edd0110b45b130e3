"""Files that claim what numbers at the ends of floats, or a runtime that fails, make false.

Found by a reader of the checker's code. Beside each stands a point, or a run, that answers it.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from fractions import Fraction

import pytest

from specdsl.proof import EXACT, FLOAT, Refused, check, read_certificate
from specdsl.proof.arithmetic import Arithmetic
from tests.proof.test_false_claims import FLOAT32, ends_in, inputs
from tests.proof.written import LEAF, STEP, Written, boxes, multiplier, singles

UNIT = 2.0**-24
LEAST = Fraction(1, 2**1074)


# --- rationals whose nearest floats are far off ---------------------------------------------------


def a_weight() -> Written:
    """1 - 2**786 (w 2**290) = -1/2, and the float nearest to w is 0."""
    file = inputs([2.0**290], [2.0**290])
    weight = file.rationals([Fraction(3, 2) / 2**1076], [1, 1])
    file.node("affine", 0, maps=[{"kind": "dense", "weight": weight}], offset=None)
    return ends_in(file, -(2.0**786), 1.0)


def a_breakpoint() -> Written:
    file = inputs([0.0], [0.0])
    parts = {"breakpoints": [Fraction(1, 2**1076)], "values": [Fraction(0)]}
    named = {name: file.rationals(values, [1]) for name, values in parts.items()}
    file.node("piecewise", 0, slopes=file.tensor([2.0**1000, 2.0**1000]), **named)
    return ends_in(file, 2.0**77, 1.0)


def the_weight_of_a_norm() -> Written:
    """10,000 lies in the ball."""
    file = inputs([-1e6], [1e6])
    ball = file.ball([0.0], f"1/{2**1060}")
    ball["scale"] = file.rationals([Fraction(8, 5) * LEAST], [1])
    file.sets[0]["balls"] = [ball]
    return ends_in(file, -1.0, 9000.0)


def the_center_of_a_ball() -> Written:
    """-2 * LEAST lies in it, and nowhere in what floats make of it."""
    file = inputs([-(2.0**-1073)], [-(2.0**-1073)])
    radius = Fraction(25001, 10000) / 2**74
    ball = file.ball([0.0], f"{radius.numerator}/{radius.denominator}")
    ball["center"] = file.rationals([Fraction(5001, 10000) * LEAST], [1])
    ball["scale"] = file.tensor([2.0**1000])
    file.sets[0]["balls"] = [ball]
    return ends_in(file, 1.0, -5.0)


def a_factor_that_is_nearly_1() -> Written:
    """What is multiplied may be flushed; what only moves is not."""
    file = inputs([2.0**-127], [2.0**-127], FLOAT32)
    factor = file.rationals([1 + Fraction(1, 2**60)], [1])
    maps = [{"kind": "factor", "factor": factor}]
    file.node("affine", 0, evaluated="computed", maps=maps, offset=None)
    return ends_in(file, 2.0**127, -0.5)


# --- floats that have no half ---------------------------------------------------------------------


def half_of_the_least() -> Written:
    """At the upper end the margin is -1/4."""
    file = inputs([0.0], [2.0**-1074])
    file.dense(0, weight=[[2.0**1000]], offset=[-(2.0**-75)])
    file.piecewise(1, 0.0, 0.0, [0.0, 1.0])
    return ends_in(file, -(2.0**74), 0.25)


def half_of_what_is_cut() -> Written:
    file = inputs([0.0], [2.0**-1074])
    file.dense(0, weight=[[-(2.0**1000)]], offset=[2.0**-75])
    file.case(0)
    file.prove_parts(LEAF + multiplier(1.0), (1, 0))
    return file


def the_root_of_the_least() -> Written:
    """A root is steepest where it starts: the margin at the upper end is -1/4."""
    file = inputs([0.0], [2.0**-1074])
    file.node("smooth", 0, curve="sqrt")
    file.dense(1, weight=[[2.0**500]])
    file.dense(2, weight=[[-(2.0**37)]], offset=[0.75])
    file.case(0)
    columns = struct.pack("<II", 0, 0)
    new = STEP + struct.pack("<III", 1, 1, 0) + singles(0, 0)
    slopes = b"\1" + bytes(4) + struct.pack("<I", 0)
    file.prove(columns + new + slopes + LEAF + b"\0" + multiplier(1.0), "parts")
    choice = {"node": 1, "count": 1, "sides": 2, "least": 2.3e161, "step": 1.0}
    file.proofs[0] |= {"choices": [choice], "entries": [{"node": 3, "count": 1}]}
    return file


# --- functions that float32 has no value of -------------------------------------------------------


def by_slopes(count: int, rows: bytes, curve: str = "log") -> Written:
    """What is flushed to 0 has no logarithm; what is negative no root."""
    ends = ([2.0**-128], [2.0**-126.4]) if curve == "log" else ([-2.0], [-1.0])
    file = inputs(*ends, FLOAT32)
    file.node("smooth", 0, evaluated="computed", curve=curve)
    file.dense(1, weight=[[1.0]], offset=[100.0])
    file.case(0)
    file.prove(struct.pack(f"<{count}I", *range(count)) + LEAF + rows, "parts")
    own = {"node": 1, "count": count, "sides": 2, "least": 0.0, "step": 0.0}
    file.proofs[0]["choices"] = [own]
    return file


def slopes_of_a_logarithm() -> Written:
    return by_slopes(1, b"\1" + singles(0.0, 0.0))


def no_slopes_of_a_logarithm() -> Written:
    return by_slopes(0, b"\1")


def slopes_of_a_root() -> Written:
    return by_slopes(0, b"\1", "sqrt")


# --- entries that are read twice ------------------------------------------------------------------


def both_of_a_pair_are_off() -> Written:
    """f(x) - f(-x) - 3/2 x, where float32 makes f(x) less and f(-x) more of it."""
    off = 5 * UNIT / (1 - 5 * UNIT)
    file = inputs([-1.0], [1.0], FLOAT32)
    file.dense(0, weight=[[1.0], [-1.0]])
    slopes = {"breakpoints": [0.0], "values": [0.0], "slopes": [0.5, 1.0]}
    tensors = {name: file.tensor(values) for name, values in slopes.items()}
    file.node("piecewise", 1, size=2, evaluated="computed", **tensors)
    weights = ([[1.0, -1.0]], [[-1.5]])
    maps = [{"kind": "dense", "weight": file.tensor(weight)} for weight in weights]
    file.node("affine", 2, 0, maps=maps, offset=file.tensor([1.5 * off]))
    file.case(0)
    file.prove(boxes())
    return file


def one_of_a_pair_is_open() -> Written:
    """z and -z, but float32 may add so much up for -z that relu(-z) is 0.77."""
    file = inputs([-1.0], [1.0], FLOAT32)
    file.dense(0, weight=[[1.0], [1.0]])
    maps = [{"kind": "dense", "weight": file.tensor([[1.0, -1.0], [-1.0, 1.0]])}]
    ends = {"offset": file.tensor([1e-5, -1e-5]), "hidden": file.tensor([0.0, 1e6])}
    file.node("affine", 1, size=2, evaluated="computed", maps=maps, **ends)
    parts = {"breakpoints": [0.0], "values": [0.0], "slopes": [0.0, 1.0]}
    relu = {name: file.tensor(values) for name, values in parts.items()}
    file.node("piecewise", 2, size=2, **relu)
    file.dense(3, weight=[[0.0, 1.0]], offset=[-0.5])
    file.piecewise(4, 0.0, 0.0, [0.0, 1.0])
    file.dense(5, weight=[[-1.0]], offset=[0.1])
    file.case(0)
    file.prove(boxes((0, 0.0)))
    return file


FALSE = (
    a_weight,
    a_breakpoint,
    the_weight_of_a_norm,
    the_center_of_a_ball,
    a_factor_that_is_nearly_1,
    half_of_the_least,
    half_of_what_is_cut,
    the_root_of_the_least,
    slopes_of_a_logarithm,
    no_slopes_of_a_logarithm,
    slopes_of_a_root,
    both_of_a_pair_are_off,
    one_of_a_pair_is_open,
)


@pytest.mark.parametrize("how", [FLOAT, EXACT], ids=["floats", "rationals"])
@pytest.mark.parametrize("make", FALSE, ids=lambda make: make.__name__)
def test_what_does_not_hold_is_refused(make: Callable[[], Written], how: Arithmetic) -> None:
    certificate = read_certificate(make().content)
    with pytest.raises(Refused, match=r"refute|too small|no value"):
        check(certificate, how)


# --- points ---------------------------------------------------------------------------------------


def with_point(file: Written, *point: str) -> bytes:
    """The file with a point of its first case in place of proofs."""
    file.proofs, file.sections["p"] = [], "\n".join(point).encode()
    content = file.content
    (size,) = struct.unpack("<Q", content[9:17])
    header = json.loads(content[17 : 17 + size]) | {"witness": {"case": 0, "point": "p"}}
    text = json.dumps(header).encode("ascii")
    return content[:9] + struct.pack("<Q", len(text)) + text + content[17 + size :]


@pytest.mark.parametrize(
    ("curve", "at", "sign"), [("log", Fraction(1, 2**127), -1.0), ("sqrt", Fraction(-1), 1.0)]
)
def test_where_there_is_no_number_there_is_no_witness(
    curve: str, at: Fraction, sign: float
) -> None:
    file = inputs([float(at)], [float(at)], FLOAT32)
    file.node("smooth", 0, evaluated="computed", curve=curve)
    file.dense(1, weight=[[sign]], offset=[-200.0])
    file.case(0)
    certificate = read_certificate(with_point(file, str(at)))
    for how in (FLOAT, EXACT):
        with pytest.raises(Refused, match="no value"):
            check(certificate, how)
