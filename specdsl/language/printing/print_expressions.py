"""Expressions and types as text, with no more parentheses than the grammar needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from specdsl.language import syntax
from specdsl.language.printing.layout import SPACE, Doc, Group, Nest, bracket, concat, join
from specdsl.language.syntax import Binder, Expr, TypeExpr

# Levels of the grammar, loosest first: an operand of a tighter level needs no parentheses.
ANY, IMPLIES, OR, AND, NOT, COMPARISON, RANGE, SUM, PRODUCT, UNARY, POWER, POSTFIX, ATOM = range(13)

BINARY: Mapping[str, tuple[int, int, int]] = {
    "=>": (IMPLIES, OR, IMPLIES),
    "or": (OR, OR, AND),
    "and": (AND, AND, NOT),
    "+": (SUM, SUM, PRODUCT),
    "-": (SUM, SUM, PRODUCT),
    "*": (PRODUCT, PRODUCT, UNARY),
    "/": (PRODUCT, PRODUCT, UNARY),
    "@": (PRODUCT, PRODUCT, UNARY),
    ">>": (PRODUCT, PRODUCT, UNARY),
    "&": (PRODUCT, PRODUCT, UNARY),
    "^": (POWER, POSTFIX, UNARY),
}
"""Operator to its own level and those of its left and right operand."""

_LOGIC = ("and", "or", "=>")


def expression(node: syntax.Node, level: int = ANY, open: bool = False) -> Doc:
    """An expression where the grammar asks for `level`.

    `open` says that it may end in a quantifier or conditional, whose last part reaches as far right
    as it can: nothing that could belong to that part follows.
    """
    tight, build = _PRINTERS[type(node)]
    if isinstance(node, syntax.Binary):
        tight = BINARY[node.operator][0]
    elif isinstance(node, syntax.Unary):
        tight = NOT if node.operator == "not" else UNARY
    bare = open and level <= NOT if tight == ANY else tight >= level
    if bare:
        return build(node, open)
    return concat("(", build(node, True), ")")


def type_expression(node: TypeExpr) -> Doc:
    """``real[28, 28] `m` `` or ``(image: Camera, speed: Speed)``."""
    if isinstance(node, syntax.TypeTuple):
        slots = [
            concat(slot.name + ": " if slot.name else "", type_expression(slot.type))
            for slot in node.slots
        ]
        return bracket("(", slots, ")")
    arguments: Doc = ""
    if node.arguments is not None:
        arguments = bracket("[", [expression(each, open=True) for each in node.arguments], "]")
    return concat(node.name, arguments, "" if node.unit is None else f" `{node.unit}`")


def binders(nodes: Sequence[Binder]) -> Doc:
    """``x in R, (a, b) in S``."""
    return join([binder(node) for node in nodes])


def binder(node: Binder) -> Doc:
    """``x in R`` or ``(a, b) in S``."""
    names = node.names[0] if len(node.names) == 1 else f"({', '.join(node.names)})"
    return concat(f"{names} in ", expression(node.set))


def for_binders(nodes: Sequence[Binder]) -> Doc:
    """`` for x in R for y in S``, each behind a break."""
    return concat(*(concat(SPACE, "for ", binder(node)) for node in nodes))


def quoted(text: str) -> str:
    """A text as a literal."""
    for plain, escaped in (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n"), ("\t", "\\t")):
        text = text.replace(plain, escaped)
    return f'"{text}"'


def _where(condition: Expr | None, open: bool = False) -> Doc:
    return "" if condition is None else concat(SPACE, "where ", expression(condition, open=open))


def _number(node: syntax.Number, _open: bool) -> Doc:
    return node.text if node.unit is None else f"{node.text} `{node.unit}`"


def _attribute(node: syntax.Attribute, _open: bool) -> Doc:
    # `1.a` would be a malformed number.
    level = ATOM + 1 if isinstance(node.base, syntax.Number) else POSTFIX
    return concat(expression(node.base, level), f".{node.name}")


def _index(node: syntax.Index, _open: bool) -> Doc:
    return concat(expression(node.base, POSTFIX), bracket("[", [_item(i) for i in node.items], "]"))


def _item(node: Expr | syntax.Slice) -> Doc:
    if not isinstance(node, syntax.Slice):
        return expression(node)
    start = "" if node.start is None else expression(node.start)
    stop = "" if node.stop is None else expression(node.stop)
    return concat(start, ":", stop)


def _call(node: syntax.Call, _open: bool) -> Doc:
    arguments = [expression(argument, open=True) for argument in node.arguments]
    return concat(expression(node.function, POSTFIX), bracket("(", arguments, ")"))


def _named_argument(node: syntax.NamedArgument, _open: bool) -> Doc:
    return concat(f"{node.name} = ", expression(node.value, open=True))


def _comprehension(node: syntax.Comprehension, _open: bool) -> Doc:
    inside = concat(expression(node.body), for_binders(node.binders), _where(node.where, True))
    return Group(Nest(inside))


def _unary(node: syntax.Unary, open: bool) -> Doc:
    if node.operator == "not":
        return concat("not ", expression(node.operand, NOT, open))
    return concat("-", expression(node.operand, UNARY))


def _binary(node: syntax.Binary, open: bool) -> Doc:
    """A chain of one operator is one group, so that it breaks before each or before none."""
    own, left_level, right_level = BINARY[node.operator]
    if _is_fraction(node):
        return concat(expression(node.left), "/", expression(node.right))
    if own == POWER:
        return concat(expression(node.left, left_level), "^", expression(node.right, right_level))
    logic = node.operator in _LOGIC
    tail: list[Doc] = []
    while True:
        right = expression(node.right, right_level, open and logic)
        tail += [concat(SPACE, f"{node.operator} ", right)]
        open = False
        left = node.left
        if not isinstance(left, syntax.Binary) or BINARY[left.operator][0] != own:
            break
        if own == IMPLIES or _is_fraction(left):
            break
        node = left
    return Group(Nest(concat(expression(node.left, left_level), *reversed(tail))))


def _is_fraction(node: syntax.Binary) -> bool:
    """Whether this is a literal like `2/255` or `-1/2`, which is written without blanks."""
    left = node.left
    if isinstance(left, syntax.Unary) and left.operator == "-":
        left = left.operand
    parts = (left, node.right)
    plain = all(isinstance(part, syntax.Number) and part.unit is None for part in parts)
    return node.operator == "/" and plain


def _comparison(node: syntax.Comparison, _open: bool) -> Doc:
    parts = [expression(node.operands[0], RANGE)]
    for operator, operand in zip(node.operators, node.operands[1:], strict=True):
        parts.append(concat(f" {operator}", SPACE, expression(operand, RANGE)))
    return Group(Nest(concat(*parts)))


def _membership(node: syntax.Membership, _open: bool) -> Doc:
    word = " not in" if node.negated else " in"
    return Group(
        Nest(concat(expression(node.element, RANGE), word, SPACE, expression(node.set, RANGE)))
    )


def _range(node: syntax.Range, _open: bool) -> Doc:
    return concat(expression(node.first, SUM), "..", expression(node.last, SUM))


def _if(node: syntax.IfThenElse, open: bool) -> Doc:
    return Group(
        Nest(
            concat(
                concat("if ", expression(node.condition)),
                concat(SPACE, "then ", expression(node.yes)),
                concat(SPACE, "else ", expression(node.no, open=open)),
            )
        )
    )


def _quantifier(node: syntax.Quantifier, open: bool) -> Doc:
    where = "" if node.where is None else concat(SPACE, "where ", expression(node.where, IMPLIES))
    head = concat(f"{node.kind} ", binders(node.binders), where, ":")
    return Group(Nest(concat(head, SPACE, expression(node.body, open=open))))


def _tuple(node: syntax.Tuple, _open: bool) -> Doc:
    return bracket("(", [expression(item, open=True) for item in node.items], ")")


def _list(node: syntax.List, _open: bool) -> Doc:
    return bracket("[", [expression(item, open=True) for item in node.items], "]")


def _absolute(node: syntax.Absolute, _open: bool) -> Doc:
    return concat("|", expression(node.operand, SUM), "|")


def _set_of(node: syntax.SetOf, _open: bool) -> Doc:
    inside = concat(expression(node.body), for_binders(node.binders), _where(node.where, True))
    return Group(concat("{ ", Nest(inside), " }"))


def _subset(node: syntax.Subset, _open: bool) -> Doc:
    inside = concat(expression(node.member), _where(node.condition, True))
    return Group(concat("{ ", Nest(inside), " }"))


_PRINTERS: Mapping[type, tuple[int, Callable[[Any, bool], Doc]]] = {
    syntax.Number: (ATOM, _number),
    syntax.String: (ATOM, lambda node, _: quoted(node.value)),
    syntax.Boolean: (ATOM, lambda node, _: "true" if node.value else "false"),
    syntax.Name: (ATOM, lambda node, _: node.name),
    syntax.Attribute: (POSTFIX, _attribute),
    syntax.Index: (POSTFIX, _index),
    syntax.Call: (POSTFIX, _call),
    syntax.NamedArgument: (ATOM, _named_argument),
    syntax.Comprehension: (ATOM, _comprehension),
    syntax.Unary: (UNARY, _unary),
    syntax.Binary: (SUM, _binary),
    syntax.Comparison: (COMPARISON, _comparison),
    syntax.Membership: (COMPARISON, _membership),
    syntax.Range: (RANGE, _range),
    syntax.IfThenElse: (ANY, _if),
    syntax.Quantifier: (ANY, _quantifier),
    syntax.Tuple: (ATOM, _tuple),
    syntax.List: (ATOM, _list),
    syntax.Absolute: (ATOM, _absolute),
    syntax.SetOf: (ATOM, _set_of),
    syntax.Subset: (ATOM, _subset),
}
"""Node to its level (a first guess for operators) and to the function that prints it."""
