"""`source`: a claim as a Python function of a batch, for a training script."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction

from specdsl.training.claims.formula_source import formula_node
from specdsl.training.claims.heads import flattened, head, like_name
from specdsl.training.claims.layout import Node, call
from specdsl.training.claims.region_source import region_lines, variable_region
from specdsl.training.claims.standalone import standalone_source
from specdsl.training.claims.template import POINT, Affine, Application, ClaimTemplate
from specdsl.training.claims.vectors import Writer

CONSTRUCTORS = (
    *("All", "Any_", "Application", "Atom", "Claim"),
    *("ball", "box", "class_rows", "intersect", "unchanged"),
    *("chosen_rows", "cut_by_ball", "decided", "each", "each_output", "fixed", "halfspaces"),
    *("hull", "joint", "matrix_of", "moved", "rows_of", "rows_of_class", "same_class", "select"),
)
"""What emitted functions call; `specdsl.training.api` has all of it."""


def source(template: ClaimTemplate, *, standalone: bool = False) -> str:
    """The function, as `ruff format` leaves it. It takes the parts of a batch, and numbers by name.

    Its names are those of `names_in`, and `Tensor`. `standalone`: in plain torch, with boxes, rows
    and offsets as its result; raises SpecError E0731 for claims that are more than that.
    """
    if standalone:
        return standalone_source(template)
    writer = Writer(template, like_name(template))
    body = writer.body
    body += flattened(template)
    region_lines(writer)
    names: list[str] = []
    for application in template.applications:
        writer.assign(application.name, application_node(writer, application))
        names.append(application.name)
    writer.assign("formula", formula_node(writer))
    body.append(f"    return Claim(region, ({', '.join(names)}{',' * (len(names) == 1)}), formula)")
    return "\n".join([*head(template, "Claim"), *body, ""])


def names_in(text: str) -> tuple[str, ...]:
    """The constructors that emitted functions call, in alphabetical order."""
    return tuple(
        name for name in sorted(CONSTRUCTORS) if re.search(rf"(?<![\w.]){name}\b(?! =)", text)
    )


# --- applications ---------------------------------------------------------------------------------


def application_node(writer: Writer, application: Application) -> Node:
    """The network at a point, with a region that contains the point."""
    point, template = application.point, writer.template
    if all(POINT not in form.sources for form in point):
        return call("fixed", writer.full(point))
    alone = [_alone(form) for form in point]
    if alone == list(range(template.size)):
        return call("Application", "unchanged", "region")
    text = writer.vector(point).text
    if writer.vector(point).width == 1 and len(point) > 1:
        text = writer.full(point)
    return call("Application", f"lambda v: {text}", _reached(writer, point))


def _alone(form: Affine) -> int:
    """The entry of the point that a form is; -1 where it is more."""
    if len(form.terms) != 1 or form.constant:
        return -1
    ((entry, coefficient),) = form.terms
    return entry.position if entry.source == POINT and coefficient == 1 else -1


def _reached(writer: Writer, point: Sequence[Affine]) -> Node:
    """A region that contains an affine function of the variables."""
    over = [form.only(POINT).terms for form in point]
    shift = [form.without(POINT) for form in point]
    positions = [terms[0][0].position for terms in over if len(terms) == 1]
    if len(positions) < len(point) or len(set(positions)) < len(positions):
        matrix = writer.matrix(
            [{entry.position: c for entry, c in terms} for terms in over], writer.template.size
        )
        return call("hull", "region", matrix, writer.vector(shift).text)
    base = _part(writer, positions)
    factors = [terms[0][1] for terms in over]
    still = not any(form.terms or form.constant for form in shift)
    if still and set(factors) == {Fraction(1)}:
        return base
    scale = writer.vector([Affine((), factor) for factor in factors]).text
    return call("moved", base, scale, writer.vector(shift).text)


def _part(writer: Writer, positions: Sequence[int]) -> Node:
    """The region of some entries of the point."""
    if list(positions) == list(range(writer.template.size)):
        return "region"
    for variable in writer.template.variables:
        if list(positions) == list(range(variable.start, variable.start + variable.size)):
            return variable_region(variable)
    return call("select", "region", f"{list(positions)}")
