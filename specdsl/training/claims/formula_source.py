"""What is claimed, as Python: atoms with their rows and offsets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction

from specdsl.training.claims.layout import Group, Node, call, number, several
from specdsl.training.claims.template import (
    Affine,
    Application,
    ClassMargins,
    Decided,
    Every,
    Formula,
    Margin,
    SameClass,
    Some,
)
from specdsl.training.claims.vectors import Writer


def formula_node(writer: Writer) -> Node:
    """The formula of the template."""
    return _formula(writer, writer.template.formula)


def _formula(writer: Writer, formula: Formula) -> Node:
    match formula:
        case Margin():
            return _margins(writer, [formula])
        case ClassMargins():
            return _class_margins(writer, formula)
        case SameClass():
            return _same_class(writer, formula)
        case Decided():
            return _decided(writer, formula)
        case Every(parts):
            nodes = _joined(writer, parts)
            return nodes[0] if len(nodes) == 1 else call("All", several(*nodes))
        case Some(parts):
            return call("Any_", several(*(_formula(writer, part) for part in parts)))


def _joined(writer: Writer, parts: Sequence[Formula]) -> list[Node]:
    """Margins that must all hold are one atom with several rows."""
    margins = [part for part in parts if isinstance(part, Margin)]
    nodes = [_margins(writer, margins)] if margins else []
    return [*nodes, *(_formula(writer, part) for part in parts if not isinstance(part, Margin))]


# --- rows -----------------------------------------------------------------------------------------


def _margins(writer: Writer, margins: Sequence[Margin]) -> Node:
    applications = writer.template.applications
    rows = [_rows(writer, margins, application) for application in applications]
    names = [application.name for application in applications]
    offset = _offset(writer, [margin.form.without(*names) for margin in margins])
    return call("Atom", several(*rows), offset)


def _rows(writer: Writer, margins: Sequence[Margin], application: Application) -> Node:
    """The rows of one application; None where no margin reads it."""
    forms = [margin.form.only(application.name) for margin in margins]
    if not any(form.terms for form in forms):
        return "None"
    plain = [{e.position: c for e, c in form.terms if not e.label} for form in forms]
    labels = sorted({e.label for form in forms for e, _ in form.terms if e.label})
    parts: list[Node] = []
    if any(plain):
        factors = _of_each(plain, application.outputs)
        arguments = (writer.like, str(application.outputs), *map(number, factors))
        rows = writer.rows(plain, application.outputs)
        parts.append(call("each_output", *arguments) if factors else rows)
    for label in labels:
        factors = [
            sum((c for e, c in form.terms if e.label == label), Fraction(0)) for form in forms
        ]
        parts.append(_chosen(writer, label, factors, application.outputs))
    if len(parts) == 1:
        return parts[0]
    return " + ".join(writer.literal(part) for part in parts)


def _of_each(rows: Sequence[Mapping[int, Fraction]], outputs: int) -> list[Fraction]:
    """The factors, where the rows are these multiples of each output in turn; else none."""
    count = len(rows) // outputs
    if outputs < LEAST_OUTPUTS or len(rows) != count * outputs:
        return []
    factors = [row.get(0, Fraction(0)) for row in rows[:count]]
    every = [{place: f} for place in range(outputs) for f in factors]
    return factors if list(rows) == every else []


LEAST_OUTPUTS = 3
"""Rows of fewer outputs are as short written out."""


def _chosen(writer: Writer, label: str, factors: Sequence[Fraction], outputs: int) -> Node:
    listed = Group("[", tuple(number(factor) for factor in factors), "]")
    return call("chosen_rows", writer.like, label, str(outputs), listed)


def _class_margins(writer: Writer, claim: ClassMargins) -> Node:
    written = f"class_rows({claim.label}, {claim.classes})"
    if isinstance(claim.label, int):
        written = f"rows_of_class({writer.like}, {claim.label}, {claim.classes})"
    size = abs(claim.factor)
    rows = written if size == 1 else f"{number(size)} * {written}"
    if claim.factor < 0:
        rows = f"-{rows}"
    every = [
        rows if application.name == claim.application else "None"
        for application in writer.template.applications
    ]
    atom = call("Atom", several(*every), _offset(writer, [claim.rest] * (claim.classes - 1)))
    if claim.every:
        return atom
    return call("Any_", call("each", atom))


def _same_class(writer: Writer, claim: SameClass) -> Node:
    names = [application.name for application in writer.template.applications]
    places = (str(names.index(name)) for name in (claim.first, claim.second))
    return call("same_class", writer.like, str(claim.classes), *places, str(len(names)))


def _offset(writer: Writer, forms: Sequence[Affine]) -> Node:
    """What is added to each row, (batch or 1, rows)."""
    count = len(forms)
    found = writer.vector(forms)
    if found.width == 0:
        if found.text == "0.0":
            return f"{writer.like}.new_zeros(1, {count})"
        return f"{writer.like}.new_full((1, {count}), {found.text})"
    if found.width == 1 and count > 1:
        return f"{found.factor}.expand(-1, {count})"
    return found.text


def _decided(writer: Writer, claim: Decided) -> Node:
    found = writer.vector([claim.form])
    nothing = several(*("None" for _ in writer.template.applications))
    text = writer.full([claim.form]) if found.width == 0 else found.text
    return call("Atom", nothing, call("decided", f"{text} {claim.relation} 0.0"))
