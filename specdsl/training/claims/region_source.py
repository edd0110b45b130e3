"""Where variables range, as Python: balls and boxes by their constructors."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from specdsl.training.claims.layout import Group, Node, call, number, tensor
from specdsl.training.claims.points import python_name
from specdsl.training.claims.template import Affine, Ball, Entry, Variable
from specdsl.training.claims.vectors import Writer

INFINITE = 'float("inf")'
HALF = Fraction(1, 2)


def region_lines(writer: Writer) -> None:
    """The lines that end with the region of all variables under the name `region`."""
    template = writer.template
    if len(template.variables) == 1:
        writer.assign("region", _ranging(writer, template.variables[0]))
    else:
        for variable in template.variables:
            writer.assign(variable_region(variable), _ranging(writer, variable))
        writer.assign("region", call("joint", *map(variable_region, template.variables)))
    for variable in template.variables:
        for ball in variable.balls:
            if ball not in _around(variable):
                writer.assign("region", _cut(writer, ball))
    if template.cuts:
        rows = [dict(cut.coefficients) for cut in template.cuts]
        matrix = writer.rows(rows, template.size)
        limits = writer.full([cut.limit for cut in template.cuts])
        writer.assign("region", call("halfspaces", "region", matrix, limits))


def variable_region(variable: Variable) -> str:
    """The name of the region of one of several variables."""
    return f"region_{python_name(variable.name, frozenset())}"


def _around(variable: Variable) -> list[Ball]:
    """The ball that `ball(...)` makes, if any: over the whole variable, without weights."""
    places = tuple(range(variable.start, variable.start + variable.size))
    found = [b for b in variable.balls if b.positions == places and set(b.scale) == {Fraction(1)}]
    return found[:1]


def _cut(writer: Writer, ball: Ball) -> Node:
    scale = writer.vector([Affine((), value) for value in ball.scale]).text
    center = writer.full(ball.center)
    radius = writer.vector([ball.radius]).text
    first, last = ball.positions[0], ball.positions[-1] + 1
    places = list(ball.positions)
    at = f"range({first}, {last})" if places == list(range(first, last)) else str(places)
    arguments = (at, center, radius, f'"{ball.norm}"', scale)
    return call("cut_by_ball", "region", *arguments)


# --- one variable ---------------------------------------------------------------------------------


def _ranging(writer: Writer, variable: Variable) -> Node:
    """`intersect(ball(x, r, "linf"), box(0.0, 1.0))`."""
    whole = _around(variable)
    shaped: list[Node] = []
    for ball in whole:
        center, radius = writer.full(ball.center), writer.vector([ball.radius]).text
        shaped.append(call("ball", center, radius, f'"{ball.norm}"'))
    lower, upper = ([list(limits) for limits in side] for side in (variable.lower, variable.upper))
    for ball in whole:
        for low, high, center in zip(lower, upper, ball.center, strict=True):
            _drop(low, center.minus(ball.radius))
            _drop(high, center.plus(ball.radius))
    uniform: list[Node] = []
    levels = max((len(limits) for limits in (*lower, *upper)), default=0)
    for level in range(levels):
        lows, highs = (
            [limits[level] if level < len(limits) else None for limits in side]
            for side in (lower, upper)
        )
        if variable.size == 1 and level:
            break
        node, shapely = _box(writer, lows, highs)
        (shaped if shapely else uniform).append(node)
    if variable.size == 1 and levels > 1:
        shaped.append(_many(writer, lower[0][1:], upper[0][1:]))
    if not shaped:
        uniform[0] = _spread(writer, variable)
    return call("intersect", *shaped, *uniform)


def _drop(limits: list[Affine], known: Affine) -> None:
    if known in limits:
        limits.remove(known)


def _box(
    writer: Writer, lows: Sequence[Affine | None], highs: Sequence[Affine | None]
) -> tuple[Node, bool]:
    """One bound on each side of each entry, and whether it says for which samples."""
    ball = _as_ball(writer, lows, highs)
    if ball is not None:
        return ball, True
    low, low_shaped = _side(writer, lows, "-")
    high, high_shaped = _side(writer, highs, "")
    return call("box", low, high), low_shaped or high_shaped


def _as_ball(
    writer: Writer, lows: Sequence[Affine | None], highs: Sequence[Affine | None]
) -> Node | None:
    """A linf ball around something of the sample, where the bounds are one."""
    centers: list[Affine] = []
    radii: set[Affine] = set()
    for low, high in zip(lows, highs, strict=True):
        if low is None or high is None:
            return None
        centers.append(low.plus(high).times(HALF))
        radii.add(high.minus(low).times(HALF))
    if len(radii) != 1:
        return None
    (radius,) = radii
    found = writer.vector([radius])
    if (
        found.width
        or not any(form.sources for form in centers)
        or not radius.terms + ((radius.constant,) if radius.constant else ())
    ):
        return None
    return call("ball", writer.full(centers), found.text, '"linf"')


def _side(writer: Writer, limits: Sequence[Affine | None], sign: str) -> tuple[str, bool]:
    """Bounds of one side: a number where all have the same."""
    known = [limit for limit in limits if limit is not None]
    if not known:
        return f"{sign}{INFINITE}", False
    if len(known) == len(limits):
        found = writer.vector(known)
        if found.width == 0:
            return found.text, False
        return writer.full(known), True
    if any(limit.terms for limit in known):
        # Entries without a bound of their own are bounded elsewhere: there the widest does.
        return _partly(writer, limits, sign), True
    values = tuple(
        f"{sign}{INFINITE}" if limit is None else number(limit.constant) for limit in limits
    )
    row = Group("[", values, "]")
    return writer.literal(tensor(writer.like, row)), False


def _partly(writer: Writer, limits: Sequence[Affine | None], sign: str) -> str:
    """Bounds of some entries only: the others get an infinite one."""
    filled = _filled(limits)
    base = writer.vector(filled)
    values = tuple(f"{sign}{INFINITE}" if limit is None else "0.0" for limit in limits)
    row = Group("[", values, "]")
    open_ = writer.literal(tensor(writer.like, row))
    return f"{base.text} + {open_}"


def _filled(limits: Sequence[Affine | None]) -> list[Affine]:
    """Whatever is shortest to write at the entries without a bound."""
    first = next((i, limit) for i, limit in enumerate(limits) if limit is not None)
    place, terms = first[0], first[1].terms
    if len(terms) != 1:
        return [limit or Affine() for limit in limits]
    ((entry, coefficient),) = terms
    along = [
        Affine(((Entry(entry.source, entry.position - place + i), coefficient),))
        for i in range(len(limits))
    ]
    same = all(a is None or a.terms == b.terms for a, b in zip(limits, along, strict=True))
    fill = along if same and entry.position >= place else [Affine()] * len(limits)
    return [limit or other for limit, other in zip(limits, fill, strict=True)]


def _many(writer: Writer, lower: Sequence[Affine], upper: Sequence[Affine]) -> Node:
    """Several bounds of one number: the tightest of each side."""
    ends: list[str] = []
    for limits, choose, sign in ((lower, "amax", "-"), (upper, "amin", "")):
        if not limits:
            ends.append(f"{sign}{INFINITE}")
        elif len(limits) == 1:
            ends.append(writer.full(limits))
        else:
            found = writer.vector(limits)
            inner = found.factor if found.width > 1 else f"({writer.full(limits)})"
            ends.append(f"{inner}.{choose}(1, keepdim=True)")
    return call("box", *ends)


def _spread(writer: Writer, variable: Variable) -> Node:
    """The first bounds written out for every sample: nothing else says how many there are."""
    low, high = (
        writer.full([limits[0] for limits in side]) for side in (variable.lower, variable.upper)
    )
    return call("box", low, high)
