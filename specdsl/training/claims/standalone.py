"""The usual claims in plain torch, for scripts that import nothing of this package.

Such a function returns `(lower, upper, rows, offset)`: the box that the network is applied to, and
the margins `rows @ outputs + offset`, all of which must be positive.
"""

from __future__ import annotations

from collections.abc import Sequence

from specdsl.diagnostics import SpecError
from specdsl.training.claims.heads import flattened, head, like_name
from specdsl.training.claims.layout import WIDTH, Group, Node, number, tensor
from specdsl.training.claims.template import (
    POINT,
    Affine,
    ClaimTemplate,
    ClassMargins,
    Every,
    Margin,
    Variable,
)
from specdsl.training.claims.vectors import Writer

# What scripts call `tuple[Tensor, Tensor, Tensor, Tensor]`: lower, upper, rows, offset.
RESULT = "Claim"
LOWER, UPPER, OFFSET = "    lower = ", "    upper = ", "    offset = "


def standalone_source(template: ClaimTemplate) -> str:
    """The function. Raises SpecError E0731 for claims over more than boxes."""
    if len(template.variables) != 1 or len(template.applications) != 1:
        raise _beyond(template, "it is about several points at once")
    (variable,) = template.variables
    if variable.balls:
        raise _beyond(template, f"its set is a ball in {variable.balls[0].norm}")
    if template.cuts:
        raise _beyond(template, "a condition ties entries together")
    writer = Writer(template, like_name(template))
    writer.body += flattened(template)
    _ends(writer, variable)
    _scaled(writer)
    _margins(writer)
    return "\n".join([*head(template, RESULT), *_returned(_paired(writer.body)), ""])


def _beyond(template: ClaimTemplate, why: str) -> SpecError:
    return SpecError.of(
        "E0731",
        f"`--standalone` covers boxes only: {why}",
        template.span,
        help="leave `--standalone` out: the script then calls the bounds of specdsl",
    )


def _paired(body: Sequence[str]) -> list[str]:
    """`lower = a` and `upper = b` as one statement, where it fits on a line."""
    found: list[str] = []
    for line in body:
        before = found[-1] if found else ""
        if before.startswith(LOWER) and line.startswith(UPPER):
            both = f"    lower, upper = {before.removeprefix(LOWER)}, {line.removeprefix(UPPER)}"
            if len(both) <= WIDTH and not both.endswith(("(", "[")):
                found[-1] = both
                continue
        found.append(line)
    return found


def _returned(body: Sequence[str]) -> list[str]:
    """The body and what it gives, the offset where it is returned if it fits there."""
    *lines, last = body
    line = f"    return lower, upper, rows, {last.removeprefix(OFFSET)}"
    if last.startswith(OFFSET) and len(line) <= WIDTH:
        return [*lines, line]
    return [*body, "    return lower, upper, rows, offset"]


# --- the box --------------------------------------------------------------------------------------


def _ends(writer: Writer, variable: Variable) -> None:
    """`lower = (x - r).clamp(min=0.0)`, and the same above."""
    sides = (
        ("lower", variable.lower, "torch.maximum", "min"),
        ("upper", variable.upper, "torch.minimum", "max"),
    )
    for name, side, tighter, option in sides:
        numbers: list[str] = []
        tensors: list[str] = []
        for level in range(max(len(limits) for limits in side)):
            forms = [limits[level] for limits in side if level < len(limits)]
            if len(forms) < len(side):
                raise _beyond(writer.template, "some entries have bounds that others have not")
            found = writer.vector(forms)
            if found.width == 0:
                numbers.append(found.text)
            else:
                tensors.append(writer.full(forms))
        if not tensors:
            tensors.append(writer.full([limits[0] for limits in side]))
            numbers = numbers[1:]
        text, *more = tensors
        for other in more:
            text = f"{tighter}({text}, {other})"
        for bound in numbers:
            open_ = text if text.isidentifier() or text.endswith(")") else f"({text})"
            text = f"{open_}.clamp({option}={bound})"
        writer.assign(name, text)


def _scaled(writer: Writer) -> None:
    """From the box of the variable to that of the network's input."""
    point = writer.template.applications[0].point
    own = [_alone(form) for form in point]
    if own != list(range(writer.template.size)):
        raise _beyond(writer.template, "the network is applied to something else than the variable")
    shifts = [Affine((), form.constant) for form in point]
    factors = [Affine((), form.terms[0][1]) for form in point]
    if all(f.constant == 1 for f in factors) and not any(s.constant for s in shifts):
        return
    scale, shift = writer.vector(factors), writer.vector(shifts)
    sign = "" if shift.text == "0.0" else f" + {shift.text}".replace("+ -", "- ")
    for name in ("lower", "upper"):
        writer.assign(name, f"{scale.text} * {name}{sign}")


def _alone(form: Affine) -> int:
    """The entry of the variable that a form is a positive multiple of, moved by a constant."""
    if len(form.terms) != 1:
        return -1
    ((entry, coefficient),) = form.terms
    return entry.position if entry.source == POINT and coefficient > 0 else -1


# --- margins --------------------------------------------------------------------------------------


def _margins(writer: Writer) -> None:
    formula = writer.template.formula
    parts = formula.parts if isinstance(formula, Every) else (formula,)
    margins = [part for part in parts if isinstance(part, Margin)]
    if len(parts) == 1 and isinstance(formula, ClassMargins) and formula.every:
        _class_rows(writer, formula)
    elif len(margins) == len(parts):
        _linear_rows(writer, margins)
    else:
        raise _beyond(writer.template, "its claim is no list of inequalities that all hold")


def _class_rows(writer: Writer, claim: ClassMargins) -> None:
    like, label, classes = writer.like, claim.label, claim.classes
    if isinstance(label, int):
        writer.assign("y", f"torch.full((len({like}),), {label}, device={like}.device)")
        label = "y"
    body = writer.body
    count = f"torch.arange({classes - 1}, device={label}.device)"
    body.append(f"    others = {count} + ({count} >= {label}[:, None])")
    own, rest = f"F.one_hot({label}, {classes})[:, None]", f"F.one_hot(others, {classes})"
    rows = f"({own} - {rest}).to({like})"
    if claim.factor == -1:
        rows = f"({rest} - {own}).to({like})"
    elif claim.factor != 1:
        rows = f"{number(claim.factor)} * {rows}"
    writer.assign("rows", rows)
    _offset(writer, [claim.rest] * (classes - 1))


def _linear_rows(writer: Writer, margins: Sequence[Margin]) -> None:
    (application,) = writer.template.applications
    rows: list[Node] = []
    for margin in margins:
        terms = margin.form.only(application.name).terms
        if any(entry.label for entry, _ in terms):
            raise _beyond(writer.template, "it reads the output of a label by itself")
        known = {entry.position: c for entry, c in terms}
        values = (number(known.get(i, 0)) for i in range(application.outputs))
        rows.append(Group("[", tuple(values), "]"))
    writer.assign("rows", tensor(writer.like, Group("[", tuple(rows), "]")))
    _offset(writer, [margin.form.without(application.name) for margin in margins])


def _offset(writer: Writer, forms: Sequence[Affine]) -> None:
    found = writer.vector(forms)
    if found.text == "0.0":
        writer.assign("offset", f"{writer.like}.new_zeros(1, {len(forms)})")
    elif found.width == 0:
        writer.assign("offset", f"{writer.like}.new_full((1, {len(forms)}), {found.text})")
    elif found.width == 1 and len(forms) > 1:
        writer.assign("offset", f"{found.factor}.expand(-1, {len(forms)})")
    else:
        writer.assign("offset", found.text)
