"""Units of measurement: which agree, and what products and quotients are in.

A unit is a text such as `m/s^2`, as its user spells it; pint knows what the words in it mean. Units
are checked and then erased: nothing is ever converted, only messages show a converted number.

Loading pint takes about 0.3 s, so it is loaded when the first unit is looked up.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import cache, lru_cache
from typing import TYPE_CHECKING

from specdsl.diagnostics import SpecError, suggestion

if TYPE_CHECKING:
    from pint import UnitRegistry

CURRENCIES = ("EUR", "USD", "GBP", "CHF", "JPY", "CNY", "INR")
COUNTED = ("person", "vehicle", "item", "packet", "request")
"""Things that are counted; pint has units of physics only."""

COMMON = (
    *("m", "mm", "cm", "km", "inch", "ft", "mile", "s", "ms", "min", "h", "hour", "day", "yr"),
    *("second", "meter", "metre", "minute", "week", "month", "year", "rad", "deg", "Hz", "kHz"),
    *("kg", "g", "t", "tonne", "N", "J", "kJ", "kWh", "W", "kW", "MW", "Pa", "kPa", "bar", "V"),
    *("A", "K", "degC", "degF", "kph", "mph", "knot", "rpm", "L", "mL", "mol", "percent", "%"),
    *CURRENCIES,
    *COUNTED,
)
"""Units that a misspelt one is compared with."""

# Nobody means a higher power; it keeps products of powers small.
MAX_EXPONENT = 24
_TOKEN = re.compile(r"\s*([^\s\d*/^()·.][^\s*/^()·]*|\d+|[*/^()·-]|\S)")

Powers = Mapping[str, int]


def normal(text: str | None) -> str | None:
    """A unit in one spelling; None for an empty one, and for one that is a plain number.

    Raises SpecError E0408 for an unknown or malformed unit.
    """
    if text is None or not text.strip():
        return None
    powers = _parse(text)
    for word in powers:
        _name(word)
    return _spell(powers)


def same(first: str | None, second: str | None) -> bool:
    """Whether numbers in these units mean the same: `N` and `kg*m/s^2` do, `m` and `km` do not."""
    if first == second:
        return True
    if first is None or second is None:
        return False
    return _root(first) == _root(second)


def compatible(first: str | None, second: str | None) -> bool:
    """Whether one could be converted into the other: `m` and `km`."""
    return _root(first or "1").dimensions == _root(second or "1").dimensions


def convert(value: Fraction, source: str, target: str) -> Fraction | None:
    """A number in another unit, to 28 digits; None where they are not compatible."""
    if not compatible(source, target):
        return None
    return value * _root(source).factor / _root(target).factor


def distinct(units: Iterable[str | None]) -> list[str]:
    """The units that differ in meaning, in order, each as first spelled; bare numbers have none."""
    found: list[str] = []
    for unit in units:
        if unit is not None and not any(same(unit, other) for other in found):
            found.append(unit)
    return found


def product(first: str | None, second: str | None) -> str | None:
    """The unit of a product; None where it has none: `m/s` times `s` is `m`."""
    return _combined(first, second, 1)


def quotient(first: str | None, second: str | None) -> str | None:
    """The unit of a quotient; None where it has none: `m` by `m`."""
    return _combined(first, second, -1)


def power(unit: str | None, exponent: int) -> str | None:
    """The unit of a power. Raises SpecError E0408 where it is higher than anyone means."""
    if unit is None or exponent == 0:
        return None
    powers = {word: n * exponent for word, n in _parse(unit).items()}
    if any(abs(n) > MAX_EXPONENT for n in powers.values()):
        raise SpecError.of("E0408", f"no unit has the power {exponent} of `{unit}`")
    return _spell(powers)


def root(unit: str) -> str | None:
    """The unit whose square this is, spelled with the same words; None where there is none."""
    powers = _parse(unit)
    if any(n % 2 for n in powers.values()):
        return None
    return _spell({word: n // 2 for word, n in powers.items()})


# --- spelling ------------------------------------------------------------------------------------


def _parse(text: str) -> Powers:
    """The words of a unit with their exponents. Raises SpecError E0408 for what is no unit."""
    tokens: list[str] = _TOKEN.findall(text.replace("**", "^").strip())
    reader = _Reader(text, tokens)
    powers = reader.product()
    if reader.rest:
        raise reader.malformed()
    return {word: n for word, n in powers.items() if n}


@dataclass(slots=True)
class _Reader:
    """Reads `product = factor (("*" | "/" | nothing) factor)*`, `factor = atom ["^" integer]`."""

    text: str
    rest: list[str]

    def malformed(self) -> SpecError:
        return SpecError.of(
            "E0408",
            f"`{self.text}` is no unit",
            help="write names joined by `*`, `/` and whole powers: `kg*m/s^2`",
        )

    def product(self) -> dict[str, int]:
        powers = self.factor()
        while self.rest and self.rest[0] != ")":
            sign = -1 if self.rest[0] == "/" else 1
            if self.rest[0] in "*/·":
                self.rest.pop(0)
            for word, n in self.factor().items():
                powers[word] = powers.get(word, 0) + sign * n
        return powers

    def factor(self) -> dict[str, int]:
        token = self.rest.pop(0) if self.rest else ""
        if token == "(":
            powers = self.product()
            if not self.rest or self.rest.pop(0) != ")":
                raise self.malformed()
        elif token == "1":
            powers: dict[str, int] = {}
        elif re.match(r"[^\W\d]|[%°$€£]", token):
            powers = {token: 1}
        else:
            raise self.malformed()
        exponent = self.exponent()
        return {word: n * exponent for word, n in powers.items()}

    def exponent(self) -> int:
        if not self.rest or self.rest[0] != "^":
            return 1
        self.rest.pop(0)
        text = "".join(self.rest[:2] if self.rest[:1] == ["-"] else self.rest[:1])
        if not re.fullmatch(r"-?\d{1,3}", text) or abs(int(text)) > MAX_EXPONENT:
            raise self.malformed()
        del self.rest[: 1 + text.startswith("-")]
        return int(text)


def _spell(powers: Powers) -> str | None:
    above = [_raised(word, n) for word, n in powers.items() if n > 0]
    below = [_raised(word, -n) for word, n in powers.items() if n < 0]
    if not above and not below:
        return None
    divisor = below[0] if len(below) == 1 else f"({'*'.join(below)})"
    return "*".join(above or ["1"]) + (f"/{divisor}" if below else "")


def _raised(word: str, exponent: int) -> str:
    return word if exponent == 1 else f"{word}^{exponent}"


def _combined(first: str | None, second: str | None, sign: int) -> str | None:
    """A word of the second that means the same as one of the first joins it."""
    if second is None:
        return first
    powers = dict(_parse(first)) if first else {}
    spelled = {_name(word): word for word in powers}
    for word, n in _parse(second).items():
        known = spelled.get(_name(word), word)
        powers[known] = powers.get(known, 0) + sign * n
    return _spell(powers)


# --- meaning -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Root:
    """A unit in base units: `factor` times the product of `dimensions`."""

    factor: Fraction
    dimensions: frozenset[tuple[str, Fraction]]


@cache
def _registry() -> UnitRegistry[Decimal]:
    from pint import UnitRegistry

    # Decimal: pint is typed for float here, but documents Decimal, whose factors are exact.
    registry: UnitRegistry[Decimal] = UnitRegistry(non_int_type=Decimal)  # pyright: ignore[reportArgumentType]
    for word in (*CURRENCIES, *COUNTED):
        registry.define(f"{word} = [{word}]")
    registry.define("@alias person = people")
    return registry


@lru_cache(maxsize=1024)
def _name(word: str) -> str:
    """The one name of a unit that has several. Raises SpecError E0408 where there is none."""
    from pint import UndefinedUnitError

    try:
        return str(_registry().get_name({"°": "degree"}.get(word, word)))
    except UndefinedUnitError:
        hint = suggestion(word, COMMON)
        raise SpecError.of(
            "E0408", f"no unit is called `{word}`", help=hint or _KNOWN_UNITS
        ) from None


_KNOWN_UNITS = "units are spelled as physicists do: `m`, `km`, `s`, `kg`, `m/s`, `rad`, `EUR`"


@lru_cache(maxsize=1024)
def _root(unit: str) -> _Root:
    factor = Fraction(1)
    dimensions: dict[str, Fraction] = {}
    for word, exponent in _parse(unit).items():
        scale, bases = _root_of_word(word)
        factor *= scale**exponent
        for base, n in bases:
            dimensions[base] = dimensions.get(base, Fraction(0)) + n * exponent
    return _Root(factor, frozenset((base, n) for base, n in dimensions.items() if n))


def _root_of_word(word: str) -> tuple[Fraction, Sequence[tuple[str, Fraction]]]:
    """A factor and base units. A unit whose zero lies elsewhere (`degC`, `dB`) is its own base."""
    name = _name(word)
    quantity = _registry().Quantity
    if quantity(Decimal(0), name).to_root_units().magnitude != 0:
        return Fraction(1), [(name, Fraction(1))]
    one = quantity(Decimal(1), name).to_root_units()
    bases = [(str(base), Fraction(str(n))) for base, n in one.unit_items()]
    return Fraction(one.magnitude), bases
