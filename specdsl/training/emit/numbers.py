"""Numbers of a plan as Python text."""

from __future__ import annotations

from fractions import Fraction
from keyword import iskeyword

from specdsl.training.plan.plan import Arithmetic, Constant, Number, Scheduled

# Names that the function of schedules has for itself.
TAKEN = frozenset({"linear", "lr", "rate", "smooth", "steps", "time"})
_STRENGTH = {"+": 1, "-": 1, "*": 2, "/": 2, "^": 4}
_PYTHON = {"^": "**"}
# Of what stands alone, and of a minus sign in front.
_ATOM, _SIGN = 5, 3


def number(value: Number, schedules: str = "s") -> str:
    """An expression of Python; the value of a schedule is a field of `schedules`."""
    return _text(value, schedules)[0]


def factor(value: Number, schedules: str = "s") -> str:
    """The same, in parentheses where it could not stand beside `*`."""
    text, strength = _text(value, schedules)
    return text if strength >= _STRENGTH["*"] else f"({text})"


def variable(name: str) -> str:
    """What a schedule is called in a script, where some names are taken."""
    if name == "lr":
        # What is called `lr` there is the learning rate of the epoch, whatever it is made of.
        return "rate"
    return f"{name}_" if iskeyword(name) or name in TAKEN else name


def real(value: Fraction) -> str:
    """A float that Python reads back as the float nearest to the number, the shortest such."""
    return repr(float(value))


def is_one(value: Number) -> bool:
    """Whether a weight may be left out."""
    return isinstance(value, Constant) and value.value == 1


def _text(value: Number, schedules: str) -> tuple[str, int]:
    match value:
        case Constant(value=known):
            return _constant(known)
        case Scheduled(name=name):
            return (f"{schedules}.{variable(name)}" if schedules else variable(name)), _ATOM
        case Arithmetic(operator="-", left=Constant(value=zero), right=right) if zero == 0:
            return f"-{_beside(right, _SIGN, schedules)}", _SIGN
        case Arithmetic(operator=operator, left=left, right=right):
            strength = _STRENGTH[operator]
            # Minus and division bind to the left, powers to the right.
            first = _beside(left, strength + (operator == "^"), schedules)
            second = _beside(right, strength + (operator in "-/"), schedules)
            sign = _PYTHON.get(operator, operator)
            apart = sign if operator == "^" else f" {sign} "
            return f"{first}{apart}{second}", strength


def _beside(value: Number, least: int, schedules: str) -> str:
    text, strength = _text(value, schedules)
    return text if strength >= least else f"({text})"


def _constant(value: Fraction) -> tuple[str, int]:
    # Whole numbers stay what they are: 1 - kappa, not 1.0 - kappa.
    text = str(value.numerator) if value.denominator == 1 else real(value)
    return text, (_SIGN if value < 0 else _ATOM)
