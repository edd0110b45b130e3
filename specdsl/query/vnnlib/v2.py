"""VNN-LIB 2.0: from text to a `Specification`, with everything checked that needs no network."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import pairwise
from math import prod
from typing import cast, get_args

from specdsl.diagnostics import SpecError, suggestion
from specdsl.query.vnnlib.forms import (
    Form,
    Node,
    PlainComparison,
    Word,
    literal,
    not_a_command,
    not_a_formula,
    not_a_number,
    shown,
    syntax_error,
)
from specdsl.query.vnnlib.reading import decode, without_collection
from specdsl.query.vnnlib.v2_syntax import extents, forms, split_word
from specdsl.query.vnnlib.v2_tree import (
    REALS,
    Comparator,
    Comparison,
    Connective,
    Declaration,
    Expression,
    Formula,
    Kind,
    Network,
    Number,
    Operation,
    Reference,
    Relation,
    Specification,
)
from specdsl.source import Source

FLOATS = frozenset(
    [
        *("float16", "float32", "float64", "bfloat16", "float4e2m1"),
        *("float8e4m3fn", "float8e4m3fnuz", "float8e5m2", "float8e5m2fnuz"),
    ]
)
INTEGERS = frozenset(
    ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"],
)
ELEMENTS = REALS | FLOATS | INTEGERS | {"bool", "string", "complex64", "complex128"}
"""The element types of ONNX, and `real`."""

MAX_ENTRIES = 2**27
"""As for the tensors of a network."""

_NAME = re.compile(r"[A-Za-z_]\w*")
_VERSION = re.compile(r"<(\d{1,4})\.(\d{1,4})>")
_COMPARATORS = frozenset(get_args(Comparator))
_FORMULAS = "`<=`, `<`, `>=`, `>`, `==`, `!=` with two operands, `and` and `or`"
_KINDS: dict[str, Kind] = {
    "declare-input": "input",
    "declare-hidden": "hidden",
    "declare-output": "output",
}
_ORDER: tuple[Kind, ...] = ("input", "hidden", "output")


def read_specification(content: bytes | str, name: str) -> Specification:
    """Read a file. Raises SpecError: E0505 not UTF-8; E1000 to E1011 with the place in the file."""
    with without_collection():
        return _Reader(decode(content, name)).read()


@dataclass(slots=True)
class _Reader:
    """Goes through the forms once; words of plain comparisons are remembered by their text."""

    source: Source
    networks: dict[str, Network] = field(default_factory=dict)
    variables: dict[str, Declaration] = field(default_factory=dict)
    assertions: list[Formula] = field(default_factory=list)
    words: dict[str, Expression] = field(default_factory=dict)
    version: str = ""

    def read(self) -> Specification:
        for form in forms(self.source):
            self._command(form)
        if not self.networks:
            help_ = "begin with `(vnnlib-version <2.0>)` and `(declare-network f ...)`"
            raise self._error("E1005", "no network is declared", 0, help_)
        return Specification(
            self.source, self.version, tuple(self.networks.values()), tuple(self.assertions)
        )

    def _error(self, code: str, message: str, start: int, help: str | None = None) -> SpecError:
        return syntax_error(self.source, code, message, start, help)

    def _command(self, form: PlainComparison | Form) -> None:
        if isinstance(form, PlainComparison):
            text = f"`{form.operator}` outside of `(assert ...)`"
            raise self._error("E1002", text, form.start)
        head = form.head
        if head == "vnnlib-version":
            self._version(form)
        elif not self.version:
            help_ = "put `(vnnlib-version <2.0>)` before everything else"
            raise self._error("E1002", "the version of VNN-LIB comes first", form.start, help_)
        elif head == "declare-network":
            self._network(form)
        elif head == "assert" and len(form.items) == 2:
            self.assertions.append(self._formula(form.items[1]))
        else:
            raise not_a_command(self.source, form, "2.0", "(declare-network f ...)")

    def _version(self, form: Form) -> None:
        words = [item.text for item in form.items if isinstance(item, Word)]
        match = _VERSION.fullmatch(words[1]) if len(form.items) == len(words) == 2 else None
        if match is None or match[1] != "2" or self.version:
            help_ = "write `(vnnlib-version <2.0>)` once"
            raise self._error("E1002", "not a version of VNN-LIB 2", form.start, help_)
        self.version = words[1][1:-1]

    # --- declarations ---------------------------------------------------------------------------

    def _network(self, form: Form) -> None:
        if self.assertions:
            text = "a network is declared behind an assertion"
            raise self._error("E1005", text, form.start, "declare all networks first")
        items = form.items[1:]
        name = self._name(items[0] if items else form, "network", self.networks)
        relation, other, rest = self._relation(items[1:])
        declarations = tuple(self._declaration(item) for item in rest)
        for earlier, later in pairwise(declarations):
            if _ORDER.index(later.kind) < _ORDER.index(earlier.kind):
                text = f"{later.kind} `{later.name}` behind {earlier.kind} `{earlier.name}`"
                help_ = "inputs come first, then hidden values, then outputs"
                raise self._error("E1005", text, later.start, help_)
        network = Network(name, relation, other, declarations, form.start)
        for kind in ("input", "output"):
            if not network.of(kind):
                raise self._error("E1005", f"network `{name}` has no {kind}", form.start)
        if other is not None:
            self._same_form(network, self.networks[other])
        self.networks[name] = network

    def _relation(self, items: list[Node]) -> tuple[Relation | None, str | None, list[Node]]:
        if not items or not isinstance(items[0], Form):
            return None, None, items
        first = items[0]
        if first.head not in get_args(Relation):
            return None, None, items
        words = [item.text for item in first.items if isinstance(item, Word)]
        if len(words) != 2 or words[1] not in self.networks:
            text = f"`{first.head}` names a network that is declared before"
            hint = suggestion(words[1], self.networks) if len(words) == 2 else None
            raise self._error("E1005", text, first.start, hint)
        if self.networks[words[1]].relation is not None:
            text = (
                f"`{shown(words[1])}` itself is {self.networks[words[1]].relation} another network"
            )
            help_ = f"name `{self.networks[words[1]].other}` here"
            raise self._error("E1005", text, first.start, help_)
        return cast("Relation", first.head), words[1], items[1:]

    def _same_form(self, network: Network, other: Network) -> None:
        for kind in ("input", "output"):
            mine, theirs = network.of(kind), other.of(kind)
            if [(d.shape, d.element) for d in mine] != [(d.shape, d.element) for d in theirs]:
                text = f"the {kind}s of `{network.name}` are not those of `{other.name}`"
                help_ = "numbers, shapes and element types are the same in both"
                raise self._error("E1005", text, network.start, help_)

    def _declaration(self, item: Node) -> Declaration:
        form = 'write `(declare-input X real [1,10])` or `(declare-hidden H real [3] "value")`'
        if not isinstance(item, Form) or item.head not in _KINDS:
            text = "expected an input, a hidden value or an output"
            raise self._error("E1005", text, item.start, form)
        kind = _KINDS[item.head]
        count = 4 if kind == "hidden" else 3
        words = [part for part in item.items if isinstance(part, Word)]
        if len(words) != len(item.items) or len(words) != count:
            raise self._error("E1005", "a declaration has another form", item.start, form)
        name = self._name(words[1], "variable", self.variables)
        element, shape = self._type(words[2])
        value = self._string(words[3]) if kind == "hidden" else None
        found = Declaration(kind, name, element, shape, item.start, value)
        self.variables[name] = found
        return found

    def _name(self, item: Node, what: str, taken: object) -> str:
        if not isinstance(item, Word) or item.brackets is not None:
            raise self._error("E1005", f"expected the name of a {what}", item.start)
        if not _NAME.fullmatch(item.text):
            help_ = "names are letters, digits and `_`"
            raise self._error("E1005", f"`{shown(item.text)}` is no name", item.start, help_)
        if item.text in cast("dict[str, object]", taken):
            raise self._error("E1005", f"`{shown(item.text)}` is declared twice", item.start)
        return item.text

    def _type(self, word: Word) -> tuple[str, tuple[int, ...]]:
        if word.text not in ELEMENTS:
            hint = suggestion(word.text, ELEMENTS) or "element types are `real` and those of ONNX"
            raise self._error("E1005", f"`{shown(word.text)}` is no element type", word.start, hint)
        shape = None if word.brackets is None else extents(word.brackets)
        if shape is None or 0 in shape:
            help_ = f"write `{word.text} [1,10]`, or `{word.text} []` for a scalar"
            raise self._error("E1005", "a shape lists positive numbers", word.start, help_)
        if prod(shape) > MAX_ENTRIES:
            text = f"{prod(shape)} entries; the limit is {MAX_ENTRIES}"
            raise self._error("E1007", text, word.start)
        return word.text, shape

    def _string(self, word: Word) -> str:
        if not word.text.startswith('"'):
            text = "a hidden value has the name of an ONNX value, in quotes"
            raise self._error("E1005", text, word.start)
        return word.text[1:-1]

    # --- formulas -------------------------------------------------------------------------------

    def _formula(self, node: Node) -> Formula:
        """Depth is capped by the reader of the text."""
        if isinstance(node, PlainComparison):
            left = self._operand(node.left, node, 0)
            right = self._operand(node.right, node, len(node.left))
            return self._compare(node.operator, left, right, node.start)
        if isinstance(node, Word):
            raise not_a_formula(self.source, node, _FORMULAS)
        if node.head in ("and", "or") and len(node.items) > 1:
            parts = tuple(self._formula(item) for item in node.items[1:])
            return Connective("and" if node.head == "and" else "or", parts, node.start)
        if node.head in _COMPARATORS and len(node.items) == 3:
            left, right = (self._expression(item) for item in node.items[1:])
            return self._compare(node.head, left, right, node.start)
        raise not_a_formula(self.source, node, _FORMULAS)

    def _compare(
        self, operator: str, left: Expression, right: Expression, start: int
    ) -> Comparison:
        self._common_element(start, left, right)
        return Comparison(cast("Comparator", operator), left, right, start)

    def _expression(self, node: Node) -> Expression:
        if isinstance(node, Word):
            return self._read_word(node)
        if isinstance(node, PlainComparison):
            raise not_a_number(self.source, node)
        operands = tuple(self._expression(item) for item in node.items[1:])
        single = len(operands) == 1
        if node.head not in ("+", "-", "*") or not operands or (single and node.head != "-"):
            text = f"`{shown(node.head or '(')}` with {len(operands)} operands is no arithmetic"
            help_ = "arithmetic is `+`, `-` and `*` with two operands or more"
            raise self._error("E1002", text, node.start, help_)
        return Operation(node.head, operands, node.start)

    def _operand(self, text: str, node: PlainComparison, skipped: int) -> Expression:
        """As `_expression`, for a word of a plain comparison, at least `skipped` characters in."""
        if text not in self.words:
            start = self.source.text.index(text, node.start + skipped + len(node.operator) + 1)
            self.words[text] = self._read_word(split_word(text, start))
        return self.words[text]

    def _read_word(self, word: Word) -> Expression:
        value = literal(self.source, word)
        if value is not None:
            return Number(value, word.start)
        found = self.variables.get(word.text)
        if found is None:
            hint = suggestion(word.text, self.variables)
            raise self._error("E1004", f"`{shown(word.text)}` is not declared", word.start, hint)
        return Reference(found.name, self._position(found, word), word.start)

    def _position(self, variable: Declaration, word: Word) -> int:
        indices = () if word.brackets is None else extents(word.brackets)
        shape = variable.shape
        if (
            indices is None
            or len(indices) != len(shape)
            or (word.brackets is not None) != bool(shape)
        ):
            given = 0 if indices is None else len(indices)
            text = f"`{variable.name}` takes {len(shape)} indices, not {given}"
            raise self._error("E1010", text, word.start, f"write `{variable.entry(0)}`")
        position = 0
        for axis, (index, extent) in enumerate(zip(indices, shape, strict=True)):
            if index >= extent:
                text = f"index {index} on axis {axis} of `{variable.name}`, which has {extent}"
                last = variable.entry(variable.size - 1)
                raise self._error("E1010", text, word.start, f"the last entry is `{last}`")
            position = position * extent + index
        return position

    def _common_element(self, start: int, *expressions: Expression) -> None:
        """Raise E1011 where variables of different element types meet."""
        names: dict[str, str] = {}
        pending = list(expressions)
        while pending:
            expression = pending.pop()
            if isinstance(expression, Operation):
                pending += expression.operands
            elif isinstance(expression, Reference):
                element = self.variables[expression.variable].element
                names.setdefault("real" if element in REALS else element, expression.variable)
        exact = [element for element in names if element != "real"]
        if len(exact) > 1 or (len(names) > 1 and exact[0] not in FLOATS):
            (first, a), (second, b) = list(names.items())[:2]
            text = f"`{a}` is {first}, `{b}` is {second}"
            raise self._error("E1011", text, start, "compare entries of one element type")
