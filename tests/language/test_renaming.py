"""Renaming what a module declares: its names get a prefix, and it means what it meant."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from specdsl.diagnostics import Diagnostics, SpecError
from specdsl.files import read_source
from specdsl.language import syntax
from specdsl.language.checking.check import check
from specdsl.language.evaluation import evaluate
from specdsl.language.modules.expand import expand
from specdsl.language.modules.namespaces import Namespace, declared_names
from specdsl.language.modules.rename import Renamer
from specdsl.language.modules.wording import full_text
from specdsl.language.parsing.parser import parse
from specdsl.language.printing.printer import print_expression
from tests.language.modules import checked, findings
from tests.language.strategies import PLAIN_NAMES, expressions, operations, programs


def test_locals_hide_what_a_file_declares(folder: Path) -> None:
    (folder / "k.spec").write_text(
        """spec 1.0
param x: real = 5
const r = 7
network f: real[2] -> real[2] = onnx("f.onnx")
region ball(x, r) = norm_ball(x, r, linf)
let first(x) = x[0]
property p(r) {
  forall x in ball([0, 0], r)
  let f = first(x)
  where f >= 0 and sum(x[i] for i in 0..1) <= 1
  show f <= 1
}
property q = forall x in box([0, 0], [1, 1]): f(x)[0] >= x[0]
property s = all(x >= r for x in one_of(1, 2))
"""
    )
    program = parse(read_source(folder / "k.spec"))
    (folder / "main.spec").write_text('import "k.spec" as m')
    whole = expand(parse(read_source(folder / "main.spec")), base=folder)
    items = {i.name: i for i in whole.program.items if isinstance(i, syntax.Property)}
    p = items["m.p"]
    assert [type(c).__name__ for c in p.clauses] == [
        "QuantifierClause", "Let", "WhereClause", "ShowClause",
    ]  # fmt: skip
    quantified, let, where, show = p.clauses
    assert isinstance(quantified, syntax.QuantifierClause)
    assert isinstance(let, syntax.Let)
    assert isinstance(where, syntax.WhereClause)
    assert isinstance(show, syntax.ShowClause)
    assert print_expression(quantified.binders[0].set) == "m.ball([0, 0], r)"
    assert print_expression(let.value) == "m.first(x)"
    assert print_expression(where.condition) == "f >= 0 and sum(x[i] for i in 0..1) <= 1"
    assert print_expression(show.claim) == "f <= 1"
    q, s = items["m.q"].value, items["m.s"].value
    assert q
    assert print_expression(q) == "forall x in box([0, 0], [1, 1]): m.f(x)[0] >= x[0]"
    assert s
    assert print_expression(s) == "all(x >= m.r for x in one_of(1, 2))"
    assert len(program.items) == len(whole.program.items) - 1


def test_words_of_the_language_are_never_renamed(folder: Path) -> None:
    (folder / "k.spec").write_text(
        """spec 1.0
param relu: int = 2
let dense = 1
let milp = 3
let input = 4
let incomplete = 5
const affine = 6
const onnx = 7
const shift = 8
network f: real[2] -> real[2] { layer dense(weight = [[1, affine], [0, relu]])  layer relu }
network g: real[2] -> real[2] = onnx("g.onnx", denormalize = affine(scale = 2, shift = shift))
property p = forall x in box([0, 0], [1, 1]): f(x)[0] >= 0
check p using incomplete(method = interval)
check p using milp
check p using search(split = input)
"""
    )
    spec = checked(folder, 'import "k.spec" as m\ncheck m')
    assert [c.backend and c.backend.name for c in spec.checks] == ["incomplete", "milp", "search"]
    onnx = spec.networks["m.g"].onnx
    assert onnx
    assert (onnx.scale, onnx.shift) == (2, 8)


def test_a_module_does_not_see_the_file_that_imports_it(folder: Path) -> None:
    (folder / "k.spec").write_text(
        "spec 1.0\nproperty p = forall x in [0, 1]: x <= limit\nproperty q = true\n"
    )
    assert findings(folder, 'const limit = 1\nimport "k.spec" as k') == ["E0201 k.spec limit"]


def test_a_module_keeps_the_functions_of_the_language(folder: Path) -> None:
    (folder / "k.spec").write_text("spec 1.0\nproperty p = forall x in [0, 1]: abs(x) <= 2\n")
    found = findings(folder, 'let abs(x) = 0 * x\nimport "k.spec" as k\ncheck k.p')
    assert found == ["E0216 main.spec abs"]


def renamed(program: syntax.Program, prefix: str) -> syntax.Program:
    names = frozenset(n for item in program.items for n in declared_names(item))
    renamer = Renamer(Namespace(prefix, names), Diagnostics())
    return syntax.Program(
        program.version, tuple(map(renamer.item, program.items)), span=program.span
    )


@given(programs)
def test_renaming_changes_names_and_nothing_else(program: syntax.Program) -> None:
    # Taking the prefix away again gives the tree back, whatever was local.
    assert stripped(renamed(program, "zzz.")) == stripped(program)
    assert renamed(program, "") == program


@given(operations, st.dictionaries(st.sampled_from(PLAIN_NAMES), st.integers(-3, 3)))
def test_a_renamed_expression_has_the_same_value(
    expression: syntax.Expr, given_values: dict[str, int]
) -> None:
    values = {name: Fraction(value) for name, value in given_values.items()}
    renamer = Renamer(Namespace("m.", frozenset(values)), Diagnostics())
    inside = renamer.expr(expression, frozenset())
    outside = {f"m.{name}": value for name, value in values.items()}
    assert value_or_code(inside, outside) == value_or_code(expression, values)


def value_or_code(expression: syntax.Expr, values: dict[str, Fraction]) -> object:
    try:
        return evaluate(expression, values)
    except SpecError as error:
        return error.diagnostics[0].code


@given(expressions, st.sampled_from(["a", "b", "x1"]))
def test_names_that_a_file_does_not_declare_stay(expression: syntax.Expr, name: str) -> None:
    renamer = Renamer(Namespace("m.", frozenset()), Diagnostics())
    assert renamer.expr(expression, frozenset()) == expression
    declaring = Renamer(Namespace("m.", frozenset({name})), Diagnostics())
    assert declaring.expr(expression, frozenset({name})) == expression


def stripped(node: object) -> object:
    """Nodes as nested tuples, without the prefix."""
    if isinstance(node, syntax.Node):
        fields = type(node).__dataclass_fields__
        return (type(node), *(stripped(getattr(node, f)) for f in fields if "span" not in f))
    if isinstance(node, tuple):
        return tuple(stripped(each) for each in node)  # type: ignore[arg-type]
    return node.replace("zzz.", "") if isinstance(node, str) else node


def test_a_module_means_what_the_file_means_alone(folder: Path) -> None:
    path = folder / "robust.spec"
    alone = check(parse(read_source(path)), base=folder, working_directory=folder)
    spec = checked(folder, 'import "robust.spec" as m\ncheck m')
    assert {f"m.{n}": v for n, v in alone.values.items()} == dict(spec.values)
    assert len(alone.checks) == len(spec.checks)
    for mine, whole in zip(alone.checks, spec.checks, strict=True):
        assert [f"m.{full_text(p)}" for p in mine.properties] == list(
            map(full_text, whole.properties)
        )
