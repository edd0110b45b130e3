"""Units: which agree, what products are in, and what messages say of those that do not."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from specdsl.diagnostics import SpecError
from specdsl.language import units
from tests.language.checked import codes, findings

WORDS = ("m", "s", "kg", "km", "rad", "EUR", "yr", "m/s", "kg*m^2/s^2", "1/s", "J/(kg*K)")
UNITS = st.sampled_from((None, *WORDS))


@settings(max_examples=60, deadline=None)
@given(UNITS, UNITS)
def test_a_quotient_undoes_a_product(a: str | None, b: str | None) -> None:
    assert units.same(units.quotient(units.product(a, b), b), a)


@settings(max_examples=60, deadline=None)
@given(UNITS, UNITS, UNITS)
def test_products_do_not_depend_on_order(a: str | None, b: str | None, c: str | None) -> None:
    assert units.same(units.product(a, b), units.product(b, a))
    left = units.product(units.product(a, b), c)
    assert units.same(left, units.product(a, units.product(b, c)))


@settings(max_examples=30, deadline=None)
@given(UNITS, st.integers(0, 4))
def test_a_power_is_a_repeated_product(unit: str | None, n: int) -> None:
    repeated: str | None = None
    for _ in range(n):
        repeated = units.product(repeated, unit)
    assert units.same(units.power(unit, n), repeated)


@settings(max_examples=40, deadline=None)
@given(st.fractions(), st.sampled_from([("m", "km"), ("yr", "s"), ("km/h", "m/s"), ("ft", "m")]))
def test_conversions_are_exact_and_can_be_undone(value: Fraction, pair: tuple[str, str]) -> None:
    a, b = pair
    there = units.convert(value, a, b)
    assert there is not None
    assert units.convert(there, b, a) == value


def test_what_is_the_same_and_what_is_not() -> None:
    assert units.same("N", "kg*m/s^2")
    assert units.same("Hz", "1/s")
    assert units.same("year", "yr")
    assert not units.same("m", "km")
    assert not units.same("Hz", "rad/s")
    assert not units.same("degC", "K")
    assert not units.same("EUR", "USD")
    assert not units.same("m", None)
    assert units.compatible("m", "km")
    assert not units.compatible("m", "s")
    assert not units.compatible("EUR", "USD")


def test_units_are_kept_as_their_user_spells_them() -> None:
    assert units.normal(" kg m / s ** 2 ") == "kg*m/s^2"
    assert units.normal("J/(kg*K)") == "J/(kg*K)"
    assert units.normal("") is None
    assert units.normal("1") is None
    assert units.normal("%") == "%"
    assert units.product("m/s", "s") == "m"
    assert units.product("metre", "m") == "metre^2"
    assert units.quotient("m", "m") is None
    assert units.quotient(None, "s") == "1/s"


@pytest.mark.parametrize(
    "text",
    ["metr", "m//s", "m^", "m^x", "m^999", "m^" + "9" * 5000, "3m", "m/(s", ")", "^2", "m:s"],
)
def test_what_is_no_unit_is_a_diagnostic(text: str) -> None:
    with pytest.raises(SpecError, match="E0408"):
        units.normal(text)


@settings(max_examples=200, deadline=None)
@given(st.text(st.sampled_from("mskg*/^()·. 123-%°é"), max_size=12))
def test_no_text_is_more_than_a_diagnostic(text: str) -> None:
    try:
        unit = units.normal(text)
    except SpecError as error:
        found = [d.code for d in error.diagnostics]
    else:
        found = []
        assert unit is None or units.normal(unit) == unit
    assert found in ([], ["E0408"])


# --- in specs ------------------------------------------------------------------------------------

CRAFT = "property p = forall s in Craft: "


@pytest.mark.parametrize(
    "body",
    [
        "s.speed * 10 `s` <= s.rho",
        "s.rho / 2 `s` <= s.speed",
        "s.rho / (100 `m`) <= 3",
        "s.rho ^ 2 <= 9 `m^2`",
        "norm([s.rho, 3, -s.rho], l1) <= 5 `m`",
        "max(s.rho, 3) - abs(s.rho) <= 2 `metre`",
        "dot([s.rho], [s.speed]) <= 2 `m^2/s`",
        "(if s.rho >= 1 then s.rho else 3) <= 2 `m`",
        "s.rho in [0, 3 `m`] and s.rho in one_of(1, 2)",
        "acas(s).COC <= 1500",
    ],
)
def test_units_of_products_are_worked_out(body: str) -> None:
    assert codes(CRAFT + body) == []


@pytest.mark.parametrize(
    "body",
    [
        "s.rho <= s.speed",
        "s.rho <= 3 `km`",
        "s.rho + s.theta <= 1",
        "s.rho * s.speed <= 1 `m`",
        "max(s.rho, s.speed) <= 1",
        "s.rho in [0, 3 `s`]",
        "s.rho in one_of(1 `km`, 2 `km`)",
        "(if s.rho >= 1 then s.rho else s.speed) <= 1",
        "acas(s).COC <= s.rho",
        "sum([s.rho, 1 `s`]) <= 1",
    ],
)
def test_different_units_never_mix(body: str) -> None:
    assert codes(CRAFT + body) == ["E0401"]


def test_the_help_holds_the_converted_number() -> None:
    (found,) = findings("spec 1.0\nconst a = 1 `m`\nconst b = a + 2.5 `km`\n")
    assert found.help is not None
    assert "2500 `m`" in found.help


def test_a_spec_without_units_does_not_load_pint() -> None:
    script = (
        "import sys\nfrom pathlib import Path\n"
        "from specdsl.language.checking.check import check\n"
        "from specdsl.language.parsing.parser import parse\n"
        "from specdsl.source import Source\n"
        "text = 'spec 1.0\\nspace S { x: real in [0, 1] }\\n"
        "property p = forall s in S: s.x * s.x <= 1\\ncheck p'\n"
        "check(parse(Source('t', text)), base=Path(), working_directory=Path())\n"
        "print('pint' in sys.modules)"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "False"
