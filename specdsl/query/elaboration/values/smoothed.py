"""What a smoothed classifier is applied to: the variable itself, perhaps moved.

Noise goes onto the input of a query, entry by entry. It is noise on the argument of the classifier
only where the argument is the input, and distances between arguments are those between inputs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from specdsl.diagnostics import SpecError
from specdsl.query.elaboration.values.symbolic import INPUT, Linear, Tensor

ASKED = "`forall x in norm_ball(x0, r, l2): argmax(g(x)) == c`"
"""What can be asked of a smoothed classifier `g`."""


def require_variable(arguments: Sequence[Tensor]) -> None:
    """Raise SpecError E0755 where some entry is anything else than one of a variable, or that and a
    constant, or where two are of the same entry.
    """
    if positions_of(value for argument in arguments for value in argument.flat) is None:
        raise SpecError.of(
            "E0755",
            "a smoothed classifier is asked at a variable itself, not at what is computed of it",
            help=f"the form is {ASKED}; `x + d` with a constant `x` is a variable too",
        )


def positions_of(values: Iterable[object]) -> tuple[int, ...] | None:
    """The entries of the input that these are, apart from constants added; None where they are not,
    or some are the same.
    """
    found: list[int] = []
    for value in values:
        if not isinstance(value, Linear) or len(value.terms) != 1:
            return None
        (((source, position), coefficient),) = value.terms
        if source != INPUT or coefficient != 1:
            return None
        found.append(position)
    return tuple(found) if len(set(found)) == len(found) else None
