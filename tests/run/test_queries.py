"""Optima and radii: what is proven bounds what is there, what is attained is there."""

from __future__ import annotations

from fractions import Fraction
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import specdsl
from specdsl.proof import check, read_certificate
from specdsl.run.bisection import Frontier, Range, Said, bisect, within
from specdsl.run.queries import root
from specdsl.run.query_figures import compute
from specdsl.run.query_result import QueryResult
from specdsl.run.result import Report
from specdsl.source import Source, Span

NET = """spec 1.0
network f: real[2] -> real[2] {
  layer dense(weight = [[1, -1], [1, 1]], bias = [0, -1/2])
  layer relu
  layer dense(weight = [[1, -1], [1/2, 1]], bias = [0, 1/4])
}
"""
GRID = [Fraction(n, 20) for n in range(21)]


def f(x: Fraction, y: Fraction) -> list[Fraction]:
    a, b = max(x - y, Fraction(0)), max(x + y - Fraction(1, 2), Fraction(0))
    return [a - b, a / 2 + b + Fraction(1, 4)]


def run(text: str, folder: Path, params: dict[str, str] | None = None) -> Report:
    path = folder / "q.spec"
    path.write_text(NET + text)
    return specdsl.load(path, params=params or {}).check(timeout=20)


def only(text: str, folder: Path) -> QueryResult:
    (outcome,) = run(text, folder).queries
    (result,) = outcome.results
    return result


OBJECTIVES = {
    "f(x)[0]": lambda x, y: f(x, y)[0],
    "f(x)[1] - 2 * x[0]": lambda x, y: f(x, y)[1] - 2 * x,
    "max(f(x))": lambda x, y: max(f(x, y)),
    "norm(f(x), l1)": lambda x, y: sum(map(abs, f(x, y))),
    "f(x)[0] * x[1]": lambda x, y: f(x, y)[0] * y,
    "norm(f(x) - x, l2)": lambda x, y: float((f(x, y)[0] - x) ** 2 + (f(x, y)[1] - y) ** 2) ** 0.5,
}


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("kind", ["maximize", "minimize"])
def test_ends_enclose_the_optimum(kind: str, objective: str, tmp_path: Path) -> None:
    result = only(
        f"{kind} {objective} over x in box([0, 0], [1, 1]) where x[0] + x[1] <= 3/2", tmp_path
    )
    values = [
        OBJECTIVES[objective](x, y) for x, y in product(GRID, GRID) if x + y <= Fraction(3, 2)
    ]
    assert result.lower is not None
    assert result.upper is not None
    assert result.lower <= result.upper
    assert result.complete
    if kind == "maximize":
        assert result.upper >= max(values) - 1e-9
        assert result.lower >= max(values) - 0.06
    else:
        assert result.lower <= min(values) + 1e-9
        assert result.upper <= min(values) + 0.06


def test_what_is_attained_is_attained_at_the_argument(tmp_path: Path) -> None:
    result = only("maximize f(x)[1] over x in box([0, 0], [1, 1])", tmp_path)
    assert result.argument is not None
    x, y = result.argument.variables[0].values
    assert f(x, y)[1] == result.lower


def test_the_nearest_point_of_a_set(tmp_path: Path) -> None:
    for norm, distance in (("l1", 1), ("l2", 0.5**0.5), ("linf", 0.5)):
        result = only(
            f"minimize norm(x - [0, 0], {norm}) over x in box([-1, -1], [1, 1])"
            " where x[0] + x[1] >= 1",
            tmp_path,
        )
        assert result.lower is not None
        assert result.upper is not None
        assert result.lower - Fraction(1, 10**6) <= distance <= result.upper + Fraction(1, 10**6)
        assert result.complete


def test_the_largest_radius_is_enclosed(tmp_path: Path) -> None:
    claim = "forall x in norm_ball([1, 0], r, linf): f(x)[0] >= 0"
    result = only(f"largest r in [0, 1] tol 1/500 such that {claim}", tmp_path)
    assert result.lower is not None
    assert result.upper is not None
    # f0 = (x - y) - (x + y - 1/2) = 1/2 - 2 y near [1, 0], least at y = r.
    assert result.lower <= Fraction(1, 4) <= result.upper
    assert result.upper - result.lower <= Fraction(1, 500)


def test_a_claim_that_fails_everywhere_has_no_radius(tmp_path: Path) -> None:
    claim = "forall x in norm_ball([0, 0], r, linf): f(x)[1] >= 9"
    result = only(f"largest r in [0, 1] such that {claim}", tmp_path)
    assert result.proven is None
    assert result.attained == 0


def test_nothing_satisfies_the_conditions(tmp_path: Path) -> None:
    result = only("maximize f(x)[0] over x in box([0, 0], [1, 1]) where x[0] >= 2", tmp_path)
    assert result.complete
    assert result.proven is None
    assert result.reason == "no point satisfies the conditions"


def test_members_have_figures_and_expectations(tmp_path: Path) -> None:
    report = run(
        "maximize f(x)[1] - c over x in box([0, 0], [1, 1]) for c in 1..3"
        ' report median, table("t.csv") expect median <= 1 as spread',
        tmp_path,
    )
    (outcome,) = report.queries
    assert len(outcome.results) == 3
    assert outcome.figures["median"] == sorted(r.proven or 0 for r in outcome.results)[1]
    assert [e.met for e in outcome.expects] == [True]
    assert report.exit_code == 0


def test_arrays_are_where_the_text_was_written(tmp_path: Path) -> None:
    (tmp_path / "specs").mkdir()
    np.save(tmp_path / "specs" / "a.npy", np.array([1.0, 0.0]))
    np.save(tmp_path / "b.npy", np.array([0.0, 1.0]))
    text = (
        'param file: string = "a.npy"\nlet x0: real[2] = npy(file)\n'
        "property p = forall x in norm_ball(x0, 1/100, linf): f(x)[0] >= 0\ncheck p"
    )
    report = run(text, tmp_path / "specs")
    assert [r.verdict for r in report.results] == ["verified"]
    other = run(text, tmp_path / "specs", {"file": str(tmp_path / "b.npy")})
    assert [r.verdict for r in other.results] == ["falsified"]


# --- bisection -----------------------------------------------------------------------------------

POINTS = st.fractions(min_value=0, max_value=1, max_denominator=50)


@given(POINTS, POINTS)
def test_bisection_finds_both_edges_of_what_is_unknown(one: Fraction, other: Fraction) -> None:
    first, last = min(one, other), max(one, other)

    def ask(value: Fraction) -> Said:
        return "verified" if value < first else "falsified" if value > last else "unknown"

    frontier = Frontier(proven=Fraction(-1))
    tolerance = Fraction(1, 100)
    bisect(Range(Fraction(-1), Fraction(2), within(tolerance)), ask, lambda: True, frontier)
    assert frontier.proven is not None
    assert first - tolerance <= frontier.proven < first
    if frontier.unknown:
        assert frontier.refuted is not None
        assert last < frontier.refuted <= last + tolerance


@given(st.fractions(min_value=0, max_value=100, max_denominator=1000))
def test_roots_are_rounded_to_the_side_asked_for(value: Fraction) -> None:
    low, high = root(value, up=False), root(value, up=True)
    assert low**2 <= value <= high**2
    assert high - low <= Fraction(2, 10**15)


def test_figures_need_every_member() -> None:
    span = Span(Source("q.spec", "x"), 0, 1)

    def result(lower: int | None) -> QueryResult:
        value = None if lower is None else Fraction(lower)
        return QueryResult("q", 0, "largest", "search", span, lower=value)

    assert compute(["median"], [result(1), result(4), result(2), result(3)]) == {
        "median": Fraction(5, 2)
    }
    assert compute(["median"], [result(1), result(None)]) == {}


QUERIES = (
    "maximize f(x)[1] over x in box([0, 0], [1, 1])",
    "minimize norm(x - [0, 0], l2) over x in box([-1, -1], [1, 1]) where x[0] + x[1] >= 1",
    "largest r in [0, 1] tol 1/50 such that forall x in norm_ball([1, 0], r, linf): f(x)[0] >= 0",
    "smallest r in [0, 1] tol 1/50 such that exists x in norm_ball([1, 0], r, linf): f(x)[0] <= 0",
)


@pytest.mark.parametrize("text", QUERIES)
def test_the_proof_of_the_proven_end_is_filed(text: str, tmp_path: Path) -> None:
    path = tmp_path / "q.spec"
    path.write_text(NET + text)
    report = specdsl.load(path).check(timeout=20, certificates=tmp_path / "proofs")
    ((result,),) = (outcome.results for outcome in report.queries)
    assert result.proven is not None
    assert result.certificate_file is not None
    checked = check(read_certificate(result.certificate_file.read_bytes()))
    assert checked.semantics == result.semantics
    # An `exists` is proven by its witness.
    assert (checked.leaves is None) == (result.certificate is None) == ("exists" in text)
    if result.certificate is not None:
        assert result.certificate.accepted
        assert checked.semantics == "float32_any_order"


def test_an_end_is_proven_where_rounding_leaves_room(tmp_path: Path) -> None:
    """Over so small a set, float32 loses more than what lies between the bounds."""
    centre, radius = [0.7, 0.4], Fraction(1, 10**8)
    text = f"maximize f(x)[0] over x in norm_ball({centre}, {float(radius)}, linf)"
    result = only(text, tmp_path)
    assert result.proven is not None
    assert result.certificate is not None
    assert result.certificate.accepted
    assert result.attained is not None
    assert 0 < result.proven - result.attained < Fraction(1, 1000)


def test_bounds_alone_prove_no_end(tmp_path: Path) -> None:
    path = tmp_path / "q.spec"
    lines = NET.replace("layer relu", "layer gelu")
    path.write_text(lines + "maximize f(x)[1] over x in box([0, 0], [1, 1])")
    believed = specdsl.load(path).check(timeout=5, trust={"all"}).queries[0].results[0]
    assert believed.proven is not None
    found = specdsl.load(path).check(timeout=5).queries[0].results[0]
    assert found.proven is None
    assert found.attained is not None
