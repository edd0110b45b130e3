"""The specs that come with networks and data of their own answer as `specs/README.md` says."""

from __future__ import annotations

import re
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import specdsl
from specdsl.run.query_result import QueryResult
from specdsl.run.result import Report, Result

SPECS = Path(__file__).resolve().parents[2] / "specs"
MEBIBYTE = 2**20

V, F, U = "verified", "falsified", "unknown"
VERDICTS: dict[str, dict[str, str]] = {
    "robust.spec": {f"robust_on_test[{i}]": F if i == 4 else V for i in range(20)},
    "credit.spec": {
        "monotone(careful)": V,
        "fair(careful, 1/20)": V,
        "not discriminates(careful)": V,
        "lipschitz(careful, 1/2)": V,
        "monotone(careless)": F,
        "fair(careless, 1/20)": F,
        "discriminates(careless)": V,
        "lipschitz(careless, 1/4)": F,
        "monotone_exactly(careful)": V,
        "monotone_exactly(careless)": F,
    },
    "latent.spec": {
        "latent_robust(1/2)": V,
        "semantic(1/10)": V,
        "code_bounded(1/255, 1/2)": V,
        "neuron(1/255)": V,
        "robust(1/255)": V,
        "latent_robust(4)": F,
        "robust(1/8)": F,
        "code_bounded_l2(1/255, 1/2)": V,
    },
    "smoothing.spec": {
        **{f"certain[{i}]": U for i in range(1300, 1305)},
        "certain(digits[first].input, digits[first].label)": U,
        **{f"robust[{i}]": U for i in range(1302, 1305)},
    },
    "inline.spec": {"at_least": V, "at_most(3/2)": V, "at_most(1)": F, "even": V},
}
# Some claims hold without any margin.
OPTIONS: dict[str, dict[str, Any]] = {
    "credit.spec": {"trust": ["z3"]},
    "inline.spec": {"semantics": "real"},
}
EQUIVALENCE = {
    **{f"near[{i}]": V for i in range(1300, 1304)},
    **{f"same[{i}]": F if i == 1301 else V for i in range(1300, 1304)},
    **{f"coarse_near[{i}]": F for i in range(1300, 1304)},
    **{f"coarse_same[{i}]": F if i in {1301, 1303} else V for i in range(1300, 1304)},
}

# Best values that gradient descent found, in PyTorch and outside of this project: no bound that is
# proven may exclude them. Rounded by 1e-4 to the safe side, for the float32 weights of the files.
DESCENT_MAXIMUM = -1.4215
DESCENT_LEAST_CHANGE = 0.3850
DESCENT_BREAKS_AT = Fraction(1, 32)
DESCENT_DISTANCE = 0.0246


@cache
def report(name: str) -> Report:
    """Each spec runs once, with the backends that it names, and the options that it asks for."""
    return specdsl.load(SPECS / name).check(**OPTIONS.get(name, {}))


def verdicts(found: Report) -> dict[str, str]:
    """By what stands after the name of the file."""
    return {r.id.partition("::")[2]: r.word for r in found.results}


@pytest.mark.parametrize("name", VERDICTS)
def test_examples_give_the_verdicts_they_promise(name: str) -> None:
    assert verdicts(report(name)) == VERDICTS[name]
    assert not report(name).diagnostics


def test_the_gates_of_samples_are_met() -> None:
    found = report("smoothing.spec")
    assert [e.met for check in found.checks for e in check.expects] == [True, True, True]
    assert sum(r.estimate is not None for r in found.results) == 8
    assert found.exit_code == 0


@pytest.mark.slow
def test_equivalence_gives_the_verdicts_it_promises() -> None:
    found = report("equivalence.spec")
    assert verdicts(found) == EQUIVALENCE
    (distance,) = results(found)
    assert distance.complete
    assert_about(distance, DESCENT_DISTANCE, "at least")


def test_the_gate_of_robust_is_met() -> None:
    (check,) = report("robust.spec").checks
    figures = {"certified_accuracy": Fraction(19, 20), "clean_accuracy": Fraction(1)}
    assert {name: check.figures[name] for name in figures} == figures
    assert [e.met for e in check.expects] == [True]
    assert report("robust.spec").exit_code == 0


# --- queries -------------------------------------------------------------------------------------


def results(found: Report) -> list[QueryResult]:
    return [result for outcome in found.queries for result in outcome.results]


def assert_about(result: QueryResult, value: float, what: str) -> None:
    """Both ends are there, in order; what is proven does not exclude `value`, known otherwise."""
    assert result.lower is not None
    assert result.upper is not None
    assert result.lower <= result.upper
    if what == "at least":
        assert result.upper >= value
    else:
        assert result.lower <= value


@pytest.mark.slow
def test_optimise_bounds_each_answer_from_both_sides() -> None:
    most, least, radius = results(report("optimise.spec"))
    assert_about(most, DESCENT_MAXIMUM, "at least")
    assert_about(least, DESCENT_LEAST_CHANGE, "at most")
    assert_about(radius, float(DESCENT_BREAKS_AT), "at most")
    assert radius.complete
    assert radius.upper - radius.lower <= Fraction(1, 1000)  # type: ignore[operator]
    assert radius.upper <= DESCENT_BREAKS_AT  # type: ignore[operator]


@pytest.mark.slow
def test_an_optimum_is_found_only_within_the_gap_that_was_written() -> None:
    most, least, _ = results(report("optimise.spec"))
    for result, gap in ((most, Fraction(1, 100)), (least, Fraction(1, 20))):
        assert result.lower is not None
        assert result.upper is not None
        size = max(abs(result.lower), abs(result.upper))
        assert not result.complete or result.upper - result.lower <= gap * size


# --- a second opinion ----------------------------------------------------------------------------

RELATIONS = [
    pytest.param("credit.spec", "monotone(careful)", "milp", "smt", V, id="monotone"),
    pytest.param("credit.spec", "monotone(careless)", "milp", "smt", F, id="not-monotone"),
    pytest.param(
        "credit.spec", "fair(careful, 1/20)", "milp", "smt", V, id="fair", marks=pytest.mark.slow
    ),
    pytest.param("credit.spec", "fair(careless, 1/20)", "milp", "smt", F, id="unfair"),
    pytest.param(
        "equivalence.spec", "near[1303]", "milp", "smt", V, id="close", marks=pytest.mark.slow
    ),
    pytest.param("equivalence.spec", "coarse_near[1303]", "milp", "smt", F, id="not-close"),
    pytest.param(
        "latent.spec", "robust(1/255)", "search", "smt", V, id="encoder", marks=pytest.mark.slow
    ),
    pytest.param("latent.spec", "robust(1/8)", "search", "milp", F, id="encoder-broken"),
]


def answer(name: str, title: str, backend: str) -> Result:
    """What one backend says about one obligation."""
    specification = specdsl.load(SPECS / name)
    found = specification.check(using=backend, timeout=60, select=selection(title))
    (result,) = [r for r in found.results if r.id.partition("::")[2] == title]
    return result


def selection(title: str) -> str:
    """Words that select an id, and perhaps others: `-k` reads brackets as its own."""
    words = [word.strip("[],") for word in re.split(r"[()\s]+", title)]
    return " and ".join(word for word in words if word)


def solved_by_itself(result: Result) -> bool:
    """Whether a backend did more than look at the bounds that most of them share.

    Z3 is given none. `milp` says `milp/highs` even where these bounds decided and HiGHS never ran;
    only a model that was solved has columns.
    """
    return result.method.startswith("smt/") or result.statistics.get("columns", 0) > 0


@pytest.mark.parametrize(("name", "title", "first", "second", "verdict"), RELATIONS)
def test_a_second_backend_confirms_each_relation(
    name: str, title: str, first: str, second: str, verdict: str
) -> None:
    answers = [answer(name, title, backend) for backend in (first, second)]
    assert [a.word for a in answers] == [verdict, verdict]
    assert solved_by_itself(answers[1])
    if verdict == F:
        assert all(a.witness is not None for a in answers)


def test_each_kind_of_relation_is_confirmed_once_verified_and_once_falsified() -> None:
    found = {(str(p.values[0]), str(p.values[1]).partition("(")[0], p.values[4]) for p in RELATIONS}
    for spec, titles in (
        ("credit.spec", {"monotone"}),
        ("credit.spec", {"fair"}),
        ("equivalence.spec", {"near[1303]", "coarse_near[1303]"}),
        ("latent.spec", {"robust"}),
    ):
        assert {v for s, t, v in found if s == spec and t in titles} == {V, F}


# --- what is not there yet -----------------------------------------------------------------------


def test_a_closed_loop_is_typed_and_refused_where_it_stands() -> None:
    found = specdsl.load(SPECS / "double_integrator.spec").check
    with pytest.raises(specdsl.SpecError) as refused:
        raise_diagnostics(found())
    assert {d.code for d in refused.value.diagnostics} == {"E0901"}
    assert "`reach` is not supported yet" in refused.value.diagnostics[0].message


def test_a_network_that_was_not_trained_is_refused() -> None:
    found = specdsl.load(SPECS / "training.spec").check()
    assert found.results
    for result in found.results:
        assert result.word == "error"
        (diagnostic,) = result.diagnostics
        assert diagnostic.code == "E0623"
        assert diagnostic.primary is not None
        assert Path(diagnostic.primary.span.source.name).name == "training.spec"


def raise_diagnostics(found: Report) -> None:
    if found.diagnostics:
        raise specdsl.SpecError(found.diagnostics)


# --- files ---------------------------------------------------------------------------------------


def test_networks_and_data_are_small() -> None:
    files = [f for part in ("networks", "data") for f in (SPECS / part).iterdir()]
    assert files
    assert all(f.stat().st_size < MEBIBYTE for f in files)


def test_readme_names_every_spec() -> None:
    text = (SPECS / "README.md").read_text(encoding="utf-8")
    missing = [f.name for f in SPECS.glob("*.spec") if f"`{f.name}`" not in text]
    assert not missing
