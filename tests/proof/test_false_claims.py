"""Files that are put together by the page of the format, and claim what does not hold.

Each has a flaw of one kind that a checker might overlook; beside some is the same file without it,
which is accepted. What does not hold in float32 is shown by a run in float32.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from specdsl.proof import EXACT, FLOAT, Refused, check, read_certificate
from specdsl.proof.arithmetic import Arithmetic
from tests.proof.written import (
    CASES,
    LEAF,
    NO_MULTIPLIERS,
    Written,
    boxes,
    multiplier,
    singles,
    split,
    step,
)

FLOAT32 = "float32_any_order"
UNIT = 2.0**-24
single = np.float32


def flushed(value: float) -> single:
    """To float32, what is subnormal to 0."""
    own = single(value)
    return own if abs(own) >= np.finfo(single).tiny else single(0)


def inputs(
    lower: list[float], upper: list[float], semantics: str = "real", evaluated: str = "exact"
) -> Written:
    """A box, and nothing that is computed from it yet."""
    file = Written(semantics)
    file.node("input", size=len(lower), evaluated=evaluated)
    file.box(lower, upper)
    return file


def ends_in(file: Written, weight: float, offset: float, exact: bool = False) -> Written:
    """Asks whether `weight * x + offset <= 0` of the last node, and says no without a split."""
    last = len(file.nodes) - 1
    file.dense(last, weight=np.full((1, file.nodes[last]["shape"][0]), weight), offset=[offset])
    file.case(0)
    file.prove(boxes(), exact=exact)
    return file


# --- what holds in real numbers, and not in float32 ---------------------------------------------

SMALL = 2.0**-127


def a_line_that_adds() -> tuple[Written, single]:
    """All pieces of x + 1 have the slope 1, but a sum of two numbers rounds."""
    file = inputs([2.0**-26], [2.0**-26], FLOAT32)
    file.piecewise(0, 0.0, 1.0, [1.0, 1.0], "computed")
    return ends_in(file, 1.0, -1.0), single(single(2.0**-26) + single(1)) - single(1)


def a_ramp_away_from_0() -> tuple[Written, single]:
    """relu(x - 5) at 2^26 + 8, where float32 has every eighth number."""
    file = inputs([2.0**26 + 8], [2.0**26 + 8], FLOAT32)
    file.piecewise(0, 5.0, 0.0, [0.0, 1.0], "computed")
    run = single(2.0**26 + 8) - single(5)
    return ends_in(file, 1.0, -(2.0**26 + 2)), single(run - single(2.0**26 + 2))


def a_flushed_operand() -> tuple[Written, single]:
    file = inputs([SMALL], [SMALL], FLOAT32)
    file.dense(0, weight=[[2.0**126]], evaluated="computed")
    return ends_in(file, 1.0, -0.25), flushed(SMALL) * single(2.0**126) - single(0.25)


def a_flushed_constant() -> tuple[Written, single]:
    file = inputs([2.0**126], [2.0**126], FLOAT32)
    file.dense(0, weight=[[SMALL]], evaluated="computed")
    return ends_in(file, 1.0, -0.25), flushed(SMALL) * single(2.0**126) - single(0.25)


def a_flushed_factor() -> tuple[Written, single]:
    file = inputs([SMALL, 2.0**126], [SMALL, 2.0**126], FLOAT32)
    for at in (0, 1):
        map_ = {"kind": "pick", "indices": file.tensor([at], "i8")}
        file.node("affine", 0, maps=[map_], offset=None)
    file.node("product", 1, 2, evaluated="computed")
    return ends_in(file, 1.0, -0.25), flushed(SMALL) * single(2.0**126) - single(0.25)


def a_constant_beyond_float32() -> tuple[Written, single]:
    """The weight is infinite there."""
    file = inputs([1e-30], [1e-30], FLOAT32)
    file.dense(0, weight=[[1e39]], evaluated="computed")
    with np.errstate(over="ignore"):
        value = single(1e-30) * single(1e39)
    return ends_in(file, -1.0, 2e9), single(2e9) - value


def a_curve_of_what_is_flushed(curve: str, point: float, weight: float, offset: float) -> Written:
    file = inputs([point], [point], FLOAT32)
    file.node("smooth", 0, evaluated="computed", curve=curve)
    return ends_in(file, weight, offset)


def a_root() -> tuple[Written, single]:
    file = a_curve_of_what_is_flushed("sqrt", SMALL, 2.0**64, -0.5)
    return file, np.sqrt(flushed(SMALL)) * single(2.0**64) - single(0.5)


def a_logarithm() -> tuple[Written, single]:
    file = a_curve_of_what_is_flushed("log", SMALL, 1.0, 100.0)
    with np.errstate(divide="ignore"):
        return file, np.log(flushed(SMALL)) + single(100)


def a_reciprocal() -> tuple[Written, single]:
    file = a_curve_of_what_is_flushed("reciprocal", 1.5 * SMALL, -1.0, 2.0**126.8)
    with np.errstate(divide="ignore"):
        return file, single(2.0**126.8) - single(1) / flushed(1.5 * SMALL)


def a_plain_softplus() -> tuple[Written, single]:
    """`log(1 + exp(x))` is 0 where exp(x) is lost beside 1."""
    file = inputs([-18.0], [-18.0], FLOAT32)
    file.node("smooth", 0, evaluated="computed", curve="softplus")
    value = np.log(single(1) + np.exp(single(-18)))
    return ends_in(file, 1e8, -1.0), value * single(1e8) - single(1)


def sums_of_two_maps() -> tuple[Written, single]:
    """Added to 1 one after another, each of 64 products is half a unit and lost."""
    file = inputs([1.0] * 32, [1.0] * 32, FLOAT32)
    rows = [[UNIT] * 32]
    file.dense(0, 0, weight=rows, offset=[1.0], evaluated="computed")
    value = single(1)
    for _ in range(64):
        value = single(value + single(UNIT))
    return ends_in(file, 1.0, -(1 + 20 * UNIT)), value - single(1 + 20 * UNIT)


def a_rounded_input_that_is_split() -> tuple[Written, single]:
    """x is at most 1 + u + 2^-31, which rounds to 1 + 2 u. A split of the rounded number at what
    lies above x leaves two parts, not one that is empty.
    """
    most, cut = 1 + UNIT + 2.0**-31, 1 + UNIT + 2.0**-30
    file = inputs([1.0], [most], FLOAT32, evaluated="rounded")
    file.dense(0, weight=[[-1.0]], offset=[cut + 2.0**-26])
    file.case(0)
    parts = LEAF + multiplier(-1.0), LEAF + NO_MULTIPLIERS
    file.prove_parts(split(0, cut) + b"".join(parts), (0, 0))
    return file, single(cut + 2.0**-26) - single(most)


FALSE_IN_FLOAT32: tuple[Callable[[], tuple[Written, single]], ...] = (
    a_line_that_adds,
    a_ramp_away_from_0,
    a_flushed_operand,
    a_flushed_constant,
    a_flushed_factor,
    a_constant_beyond_float32,
    a_root,
    a_logarithm,
    a_reciprocal,
    a_plain_softplus,
    sums_of_two_maps,
    a_rounded_input_that_is_split,
)


@pytest.mark.parametrize("make", FALSE_IN_FLOAT32, ids=lambda make: make.__name__)
def test_what_float32_falsifies_is_refused(make: Callable[[], tuple[Written, single]]) -> None:
    file, margin = make()
    assert margin <= 0
    for how in (FLOAT, EXACT):
        with pytest.raises(Refused):
            check(read_certificate(file.content), how)


def test_more_terms_than_float32_can_add_are_refused() -> None:
    """n u is more than 1, and γ(n) would be negative. One after another, all are lost beside 1."""
    count, maps = 2**18, 65
    assert single(1) + single(UNIT) == 1
    file = inputs([1.0] * count, [1.0] * count, FLOAT32)
    file.dense(*[0] * maps, weight=[[UNIT] * count], offset=[1.0], evaluated="computed")
    certificate = read_certificate(ends_in(file, 1.0, -1.5).content)
    with pytest.raises(Refused, match="roundings"):
        check(certificate)


@pytest.mark.parametrize("make", FALSE_IN_FLOAT32, ids=lambda make: make.__name__)
def test_most_of_it_holds_in_real_numbers(make: Callable[[], tuple[Written, single]]) -> None:
    file, _ = make()
    file.semantics = "real"
    assert check(read_certificate(file.content)).leaves in (1, 2)


# --- what does not hold in real numbers ----------------------------------------------------------


def one_ball_twice() -> Written:
    """x in [4, 6], said in two ways, is not therefore above 6."""
    file = Written()
    file.node("input")
    file.box([-10.0], [10.0], file.ball([5.0], "1"), file.ball([5.0], "1"))
    return ends_in(file, 1.0, -6.0)


def anothers_ball() -> Written:
    """Two cases, and only the first one's set is cut by a ball."""
    file = Written()
    file.node("input")
    file.box([0.0], [10.0], file.ball([5.0], "1"))
    file.box([0.0], [10.0])
    file.dense(0, weight=[[1.0]], offset=[-3.0])
    file.case(0)
    file.case(0, own=1)
    file.prove(boxes())
    return file


def anothers_ball_beside_an_empty_set() -> Written:
    file = anothers_ball()
    file.box([1.0], [0.0])
    file.case(0, own=2)
    file.prove(boxes())
    return file


def strict_without_weight(weights: tuple[float, float] = (1.0, 0.0)) -> Written:
    """Margins 0 and x - 1 at x = 0: the strict one has no part in the row that is 0."""
    file = inputs([0.0], [0.0])
    file.dense(0, weight=[[0.0], [1.0]], offset=[0.0, -1.0])
    file.case(0, 1, strict=[False, True])
    file.prove(boxes(weights=weights), exact=True)
    return file


def weights_of_0() -> Written:
    return strict_without_weight((0.0, 0.0))


def no_atoms() -> Written:
    """Of what no atom asks nothing, every point is one."""
    file = inputs([0.0], [0.0])
    file.dense(0, weight=[[1.0]])
    file.case()
    file.prove(boxes(), exact=True)
    return file


def a_step_of_two_cases() -> Written:
    """A point of the second case need not have the first one's margin at 0 or less."""
    file = inputs([-1.0], [1.0])
    inner = file.dense(0, weight=[[1.0]])
    file.dense(inner, weight=[[1.0], [1.0]], offset=[-0.5, 0.5])
    file.case(0)
    file.case(1)
    file.prove_parts(step(inner, [0], [0, 0, 4, 0]) + LEAF)
    return file


def by_a_step(below: float, above: float) -> Written:
    """Margins x + 1/2 and 1/4 - relu(x), x in [-1, 1]: where the first is 0 or less, x is at most
    -1/2, which a row of -x and twice this margin says.
    """
    file = inputs([-1.0], [1.0])
    inner = file.dense(0, weight=[[1.0]])
    bent = file.piecewise(inner, 0.0, 0.0, [0.0, 1.0])
    both = [file.tensor([[1.0], [0.0]]), file.tensor([[0.0], [-1.0]])]
    maps = [{"kind": "dense", "weight": weight} for weight in both]
    file.node("affine", inner, bent, size=2, maps=maps, offset=file.tensor([0.5, 0.25]))
    file.case(0, 1)
    file.prove_parts(step(inner, [0], [0, 0, below, above]) + LEAF + singles(0, 1))
    return file


def a_step_with_no_margins() -> Written:
    return by_a_step(0.0, 0.0)


def a_step_with_less_than_none() -> Written:
    return by_a_step(-2.0, 0.0)


def by_whole_numbers(whole: bool) -> Written:
    """Margins x - 3/4 and 1/4 - x: between them lies no whole number."""
    file = inputs([0.0], [1.0])
    file.dense(0, weight=[[1.0], [-1.0]], offset=[-0.75, 0.25])
    file.case(0, 1)
    file.integers = [0] if whole else []
    leaves = LEAF + singles(0, 1) + NO_MULTIPLIERS, LEAF + singles(1, 0) + NO_MULTIPLIERS
    file.prove_parts(split(0, 0.5) + b"".join(leaves), (0, 0))
    return file


def no_whole_number() -> Written:
    return by_whole_numbers(whole=False)


def boxes_between_whole_numbers() -> Written:
    file = by_whole_numbers(whole=False)
    file.prove(boxes((0, 0.5), weights=(0, 1, 1, 0)))
    return file


def leaves_of_what_was_tried() -> Written:
    """Margins x + 1 and x - 1: the first refutes all of it, yet these leaves name the second."""
    file = inputs([0.0], [1.0])
    file.dense(0, weight=[[1.0], [1.0]], offset=[1.0, -1.0])
    file.case(0, 1)
    file.prove(boxes((0, 0.5), weights=(0, 1, 0, 1), kind=2))
    return file


def a_split_of_no_kind() -> Written:
    file = leaves_of_what_was_tried()
    file.prove(boxes((0, 0.5), weights=(1, 0, 1, 0), kind=3))
    return file


def an_error_before_its_multiplier() -> Written:
    """What a node may be off by is taken off times the coefficient that a multiplier leaves: nine
    times in the lower part, not once.
    """
    gamma = 4 * UNIT / (1 - 4 * UNIT)
    error = 2 * gamma
    file = inputs([1.0], [1.0], FLOAT32)
    inner = file.dense(0, weight=[[1.0]], offset=[1.0], evaluated="computed")
    file.dense(inner, weight=[[1.0]], offset=[-(2 - 0.75 * error)])
    file.case(0)
    leaves = LEAF + multiplier(-8.0), LEAF + multiplier(1.0)
    file.prove_parts(split(0, 2 - error / 2) + b"".join(leaves), (inner, 0))
    return file


def what_normalises_while_it_moves() -> Written:
    """1 / 3 less a mean of a million, and that added again, is 1 / 3 by a rounding of the mean."""
    file = inputs([1 / 3], [1 / 3], FLOAT32)
    map_ = {"kind": "pick", "indices": file.tensor([0], "i8")}
    hidden = file.tensor([1e6])
    file.node("affine", 0, evaluated="computed", maps=[map_], offset=None, hidden=hidden)
    return ends_in(file, 1.0, -0.333)


def a_case_left_out() -> Written:
    """Rows of a leaf have to refute all cases that are left, not one of them."""
    file = inputs([0.0], [1.0])
    file.dense(0, weight=[[1.0], [1.0]], offset=[1.0, -0.5])
    file.case(0)
    file.case(1)
    file.prove_parts(LEAF)
    return file


def a_fork_with_one_way() -> Written:
    """Each case below it has a part of its own; the second is not refuted."""
    file = a_case_left_out()
    file.prove_parts(CASES + LEAF + LEAF)
    return file


FALSE = (
    one_ball_twice,
    anothers_ball,
    anothers_ball_beside_an_empty_set,
    strict_without_weight,
    weights_of_0,
    no_atoms,
    a_step_of_two_cases,
    a_step_with_no_margins,
    a_step_with_less_than_none,
    no_whole_number,
    boxes_between_whole_numbers,
    leaves_of_what_was_tried,
    a_split_of_no_kind,
    an_error_before_its_multiplier,
    what_normalises_while_it_moves,
    a_case_left_out,
    a_fork_with_one_way,
)


@pytest.mark.parametrize("how", [FLOAT, EXACT], ids=["floats", "rationals"])
@pytest.mark.parametrize("make", FALSE, ids=lambda make: make.__name__)
def test_what_does_not_hold_is_refused(make: Callable[[], Written], how: Arithmetic) -> None:
    certificate = read_certificate(make().content)
    with pytest.raises(Refused, match=r"refute|weight|margins|nodes"):
        check(certificate, how)


# --- what holds ----------------------------------------------------------------------------------


def a_ball() -> Written:
    file = Written()
    file.node("input")
    file.box([-10.0], [10.0], file.ball([5.0], "1"))
    return ends_in(file, 1.0, -3.5)


def a_strict_atom_at_0() -> Written:
    """Two margins of 0: no point has less."""
    file = inputs([0.0], [0.0])
    file.dense(0, weight=[[1.0], [1.0]])
    file.case(0, 1, strict=[False, True])
    file.prove(boxes(weights=(1, 1)), exact=True)
    return file


def a_tried_split() -> Written:
    file = leaves_of_what_was_tried()
    file.prove(boxes((0, 0.25), (0, 0.5), weights=(1, 0, 1, 0, 1, 0), kind=2))
    return file


def a_step() -> Written:
    return by_a_step(2.0, 0.0)


def whole_numbers() -> Written:
    return by_whole_numbers(whole=True)


def boxes_of_whole_numbers() -> Written:
    file = by_whole_numbers(whole=True)
    file.prove(boxes((0, 0.5), weights=(0, 1, 1, 0)))
    return file


def less_of_a_convolution() -> Written:
    """Its result has two entries, where it could have four."""
    file = Written()
    file.node("input", shape=[1, 1, 5])
    file.box([1.0] * 5, [2.0] * 5)
    weight = file.tensor([[[1.0, 1.0]]])
    lists = {"strides": [1], "begins": [0], "ends": [0], "dilations": [1]}
    map_ = {"kind": "conv", "weight": weight, "groups": 1, "transposed": False} | lists
    file.node("affine", 0, shape=[1, 1, 2], maps=[map_], offset=None)
    file.case(0)
    file.prove(boxes())
    return file


TRUE = (
    a_ball,
    a_strict_atom_at_0,
    a_tried_split,
    a_step,
    whole_numbers,
    boxes_of_whole_numbers,
    less_of_a_convolution,
)


@pytest.mark.parametrize("how", [FLOAT, EXACT], ids=["floats", "rationals"])
@pytest.mark.parametrize("make", TRUE, ids=lambda make: make.__name__)
def test_what_holds_is_accepted(make: Callable[[], Written], how: Arithmetic) -> None:
    assert check(read_certificate(make().content), how).leaves


def test_no_network_computes_its_input() -> None:
    file = ends_in(inputs([0.0], [1.0], FLOAT32, evaluated="computed"), 1.0, 0.5)
    with pytest.raises(Refused, match="input"):
        read_certificate(file.content)


def test_a_question_without_cases_needs_no_proof() -> None:
    file = inputs([0.0], [1.0])
    file.dense(0, weight=[[1.0]])
    assert check(read_certificate(file.content)).leaves == 0
