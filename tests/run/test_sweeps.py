"""Parameters with several values, and modules, along the whole line."""

from __future__ import annotations

import csv
import json
import time
from fractions import Fraction
from itertools import product
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

import specdsl
from specdsl.diagnostics import SpecError
from specdsl.language.checking.check import check
from specdsl.language.checking.combinations import check_combinations, suffix_of
from specdsl.language.checking.sweeps import MAX_COMBINATIONS
from specdsl.language.parsing.parser import parse
from specdsl.report import console, document, tables
from specdsl.run.pipeline import RunOptions, verify
from specdsl.run.result import Report
from specdsl.run.selection import parse_selection
from specdsl.source import Source
from tests.cli.conftest import Cli, cli

__all__ = ["cli"]

PARAMETERS = """spec 1.0
param eps: real = 1/10 in [0, 1]
param n: int = 1 in [0, 100]
param p: norm = linf
param exact: bool = true
param file: string = "f.onnx"
param far: real `m` = 1
"""
# f(x) = x, so that the claim holds for eps <= 3/5.
SPEC = """spec 1.0
param eps: real = 1/4 in [0, 1]
param below: real = 3/5
network f: real[1] -> real[1] { layer dense(weight = [[1]], bias = [0]) }
property small { forall x in box([0], [1])  where x[0] <= eps  show f(x) <= below }
check small as limit report verified_fraction, table("t.csv") expect verified_fraction >= 1
"""


def combinations(**overrides: str) -> list[dict[str, object]]:
    program = parse(Source("t.spec", PARAMETERS))
    base = Path("/specs")
    found = check_combinations(program, overrides, base=base, working_directory=base)
    return [{name: c.spec.parameters[name] for name in c.values} for c in found]


def codes(**overrides: str) -> list[str]:
    try:
        combinations(**overrides)
    except SpecError as error:
        return [d.code for d in error.diagnostics]
    return []


# --- values --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "values"),
    [
        ("eps", "1/10..3/10:1/10", [Fraction(1, 10), Fraction(1, 5), Fraction(3, 10)]),
        ("eps", "0.1 .. 0.2 : 0.05", [Fraction(1, 10), Fraction(3, 20), Fraction(1, 5)]),
        ("eps", "0..0:1", [0]),
        ("n", "3..5", [3, 4, 5]),
        ("n", "0..6:3", [0, 3, 6]),
        ("n", "one_of(1, 2, 5)", [1, 2, 5]),
        ("p", "one_of(l1, l2)", ["l1", "l2"]),
        ("exact", "one_of(true, false)", [True, False]),
        ("file", 'one_of("a  b.onnx", "c.onnx")', ["a  b.onnx", "c.onnx"]),
        ("far", "1 `m`..2 `m`:1 `m`", [1, 2]),
        ("far", "1..2:1/2", [1, Fraction(3, 2), 2]),
    ],
)
def test_a_sweep_lists_exact_values(name: str, text: str, values: list[object]) -> None:
    assert [found[name] for found in combinations(**{name: text})] == values


@given(
    st.fractions(0, 1, max_denominator=50),
    st.fractions(min_value=Fraction(1, 100), max_value=1, max_denominator=100),
    st.integers(0, 20),
)
def test_both_ends_are_included(first: Fraction, step: Fraction, steps: int) -> None:
    last = first + steps * step
    text = f"{first}..{last}:{step}"
    if last > 1:
        assert codes(eps=text) == ["E0402"]
        return
    found = [c["eps"] for c in combinations(eps=text)]
    assert found == [first + i * step for i in range(steps + 1)]


@pytest.mark.parametrize("text", ["../nets/f.onnx", "a..b", "a,b.onnx", "x:y"])
def test_file_names_are_no_sweeps(text: str) -> None:
    assert combinations(file=text) == [{}]


def test_several_sweeps_give_every_combination_the_first_slowest() -> None:
    found = combinations(n="1..2", p="one_of(l1, l2, linf)", eps="1/2")
    assert [(c["n"], c["p"]) for c in found] == list(product([1, 2], ["l1", "l2", "linf"]))


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ({"eps": "1/10..3/10"}, "E0860"),
        ({"eps": "1/10..3/10:1/7"}, "E0860"),
        ({"eps": "3/10..1/10:1/10"}, "E0860"),
        ({"eps": "0..1:0"}, "E0860"),
        ({"eps": "0..1:-1"}, "E0860"),
        ({"eps": "0..1:1:1"}, "E0860"),
        ({"eps": "0..l2:1"}, "E0860"),
        ({"eps": "..1"}, "E0860"),
        ({"eps": "one_of()"}, "E0860"),
        ({"eps": "one_of(1"}, "E0860"),
        ({"eps": "one_of(1, 1)"}, "E0860"),
        ({"eps": "one_of(1, 1.0)"}, "E0860"),
        ({"eps": "1/2..3/2:1/2"}, "E0402"),
        ({"n": "one_of(1, 1/2)"}, "E0311"),
        ({"n": "0..1:1/2"}, "E0311"),
        ({"p": "one_of(l1, l3)"}, "E0311"),
        ({"p": "l1,l2"}, "E0311"),
        ({"far": "1 `km`..2 `km`:1 `km`"}, "E0311"),
        ({"m": "1..2"}, "E0206"),
        ({"eps": "0..1:1/2000"}, "E0861"),
        ({"eps": "0..1:1e-300"}, "E0861"),
        ({"eps": "0..1:1/100", "n": "0..100"}, "E0861"),
    ],
)
def test_a_bad_sweep_is_a_diagnostic_within_a_second(
    overrides: dict[str, str], expected: str
) -> None:
    parse(Source("warm", "spec 1.0"))
    start = time.perf_counter()
    assert codes(**overrides) == [expected]
    assert time.perf_counter() - start < 1


def test_where_one_value_is_needed_a_sweep_is_refused() -> None:
    program, base = parse(Source("t.spec", PARAMETERS)), Path("/specs")
    with pytest.raises(SpecError, match="E0860"):
        check(program, {"n": "1..2"}, base=base, working_directory=base)


def test_a_default_is_checked_even_where_it_is_overridden() -> None:
    program = parse(Source("t.spec", "spec 1.0\nparam a: real = 2 in [0, 1]\nparam b: int = 1/2"))
    with pytest.raises(SpecError) as caught:
        check(program, {"a": "1", "b": "2"}, base=Path(), working_directory=Path())
    assert [d.code for d in caught.value.diagnostics] == ["E0402", "E0302"]


def test_there_are_at_most_a_thousand_combinations() -> None:
    assert len(combinations(eps="0..1:1/9", n="1..100")) == MAX_COMBINATIONS


def test_the_suffix_names_the_values() -> None:
    assert suffix_of({"eps": Fraction(2, 255), "p": "l2", "b": True}) == "{eps=2/255,p=l2,b=true}"
    assert suffix_of({}) == ""


# --- runs ----------------------------------------------------------------------------------------


@pytest.fixture
def swept(tmp_path: Path) -> Report:
    (tmp_path / "f.spec").write_text(SPEC)
    return verify(tmp_path / "f.spec", {"eps": "1/4..1:1/4"})


def test_each_combination_is_checked_and_judged_on_its_own(swept: Report) -> None:
    assert swept.diagnostics == ()
    assert [(r.id, r.verdict) for r in swept.results] == [
        ("f.spec::small{eps=1/4}", "verified"),
        ("f.spec::small{eps=1/2}", "verified"),
        ("f.spec::small{eps=3/4}", "falsified"),
        ("f.spec::small{eps=1}", "falsified"),
    ]
    assert [check.figures["verified_fraction"] for check in swept.checks] == [1, 1, 0, 0]
    assert [check.expects[0].met for check in swept.checks] == [True, True, False, False]
    assert [check.parameters["eps"] for check in swept.checks] == [
        Fraction(n, 4) for n in (1, 2, 3, 4)
    ]
    assert swept.parameters == {
        "eps": tuple(Fraction(n, 4) for n in (1, 2, 3, 4)),
        "below": Fraction(3, 5),
    }
    assert swept.exit_code == 1


def test_reports_show_the_values(swept: Report) -> None:
    text = console.to_text([swept])
    assert "(eps = 1/4 | 1/2 | 3/4 | 1, below = 3/5)" in " ".join(text.split())
    assert "small{eps=3/4}" in text and "limit{eps=3/4}" in text  # noqa: PT018
    found = json.loads(document.to_json([swept]))
    jsonschema.validate(found, document.schema())
    assert found["parameters"] == {"eps": [0.25, 0.5, 0.75, 1], "below": 0.6}
    assert [r["parameters"] for r in found["results"]] == [{"eps": n / 4} for n in (1, 2, 3, 4)]
    assert [(e["check"], e["met"]) for e in found["expectations"]][2] == ("limit{eps=3/4}", False)
    assert found["aggregates"]["limit{eps=1/2}.verified_fraction"] == 1


def test_a_table_holds_all_combinations(swept: Report) -> None:
    (path,) = tables.write_requested(swept)
    rows = list(csv.DictReader(path.read_text().splitlines()))
    assert list(rows[0])[:4] == ["id", "property", "eps", "verdict"]
    assert [(r["eps"], r["verdict"]) for r in rows] == [
        ("1/4", "verified"),
        ("1/2", "verified"),
        ("3/4", "falsified"),
        ("1", "falsified"),
    ]


def test_python_sweeps_too(tmp_path: Path) -> None:
    (tmp_path / "f.spec").write_text(SPEC)
    loaded = specdsl.load(tmp_path / "f.spec", params={"eps": "one_of(1/4, 1)"})
    assert [r.verdict for r in loaded.check().results] == ["verified", "falsified"]
    assert loaded.spec.parameters["eps"] == Fraction(1, 4)


def test_a_selection_picks_combinations_and_a_run_stops_early(tmp_path: Path) -> None:
    (tmp_path / "f.spec").write_text(SPEC.replace(" expect verified_fraction >= 1", ""))
    overrides = {"eps": "1/4..1:1/4"}
    only = RunOptions(selection=parse_selection("eps=3/4"))
    report = verify(tmp_path / "f.spec", overrides, only)
    assert [r.id for r in report.results] == ["f.spec::small{eps=3/4}"]
    assert report.deselected == 3
    stopped = verify(tmp_path / "f.spec", overrides, RunOptions(stop_early=True))
    assert (len(stopped.results), stopped.skipped) == (3, 1)


def test_what_is_wrong_in_some_combinations_is_said_once(tmp_path: Path) -> None:
    text = "spec 1.0\nparam n: int = 1\nconst v = [1, 2]\nconst a = v[n] + unknown\n"
    (tmp_path / "f.spec").write_text(text)
    report = verify(tmp_path / "f.spec", {"n": "0..4"})
    assert [d.code for d in report.diagnostics] == ["E0201"]
    (tmp_path / "f.spec").write_text(text.replace(" + unknown", ""))
    report = verify(tmp_path / "f.spec", {"n": "0..4"})
    (found,) = report.diagnostics
    assert (found.code, found.message.endswith("(with n=2)")) == ("E0306", True)


# --- command line --------------------------------------------------------------------------------


def test_every_command_takes_a_sweep(cli: Cli) -> None:
    Path("f.spec").write_text(SPEC)
    sweep = ("-D", "eps=one_of(1/4,1)")
    assert cli("list", "f.spec", *sweep).out.splitlines() == [
        "f.spec::small{eps=1/4}",
        "f.spec::small{eps=1}",
    ]
    assert cli("check-syntax", "f.spec", *sweep).code == 0
    assert cli("check-syntax", "f.spec", "-D", "eps=one_of(1/4,3)").code == 2
    assert cli("check", "f.spec", *sweep, "-k", "eps=1/4").code == 0
    names = cli("compile", "f.spec", *sweep, "--to", "graph", "-o", "out").out.split()
    assert [Path(name).name for name in names] == ["small_eps_1_4.graph", "small_eps_1.graph"]
    names = cli("compile", "f.spec", *sweep, "--to", "spec", "-o", "out").out.split()
    assert [Path(name).name for name in names] == ["f_eps_1_4.checked", "f_eps_1.checked"]


def test_modules_run_from_the_command_line(cli: Cli) -> None:
    Path("lib").mkdir()
    Path("lib/f.spec").write_text(SPEC)
    Path("main.spec").write_text(
        'spec 1.0\nimport "lib/f.spec" as a\nimport "lib/f.spec" as b with { eps = 3/4 }\n'
        "check a, b\ncheck a.limit, b.small using smt expect verified_fraction >= 0 as both\n"
    )
    run = cli("check", "main.spec", "--output-format", "json")
    found = json.loads(run.out)
    assert [(r["id"], r["verdict"]) for r in found["results"]] == [
        ("main.spec::a.small", "verified"),
        ("main.spec::b.small", "falsified"),
        ("main.spec::a.small#2", "verified"),
        ("main.spec::b.small#2", "falsified"),
    ]
    names = [e["check"] for e in found["expectations"]]
    assert names == ["a.limit", "b.limit", "both.limit", "both.2"]
    assert run.code == 1
    rows = list(csv.DictReader(Path("t.csv").read_text().splitlines()))
    assert [r["property"] for r in rows] == ["a.small", "b.small", "a.small"]
    changed = cli("check", "main.spec", "-D", "b.eps=1/8", "-k", "b.small")
    assert changed.code == 0
    assert cli("check", "main.spec", "-D", "c.eps=1/8").code == 2
