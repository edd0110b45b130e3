"""Modules: what `import` brings in, under which names, and what is said where it cannot."""

from __future__ import annotations

import time
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from specdsl.diagnostics import Diagnostics, SpecError, render
from specdsl.files import read_source
from specdsl.language import syntax
from specdsl.language.checking.check import check
from specdsl.language.evaluation import evaluate
from specdsl.language.modules.expand import Expanded, expand
from specdsl.language.modules.namespaces import RESERVED, Namespace, declared_names, is_name
from specdsl.language.modules.rename import Renamer
from specdsl.language.modules.wording import full_text
from specdsl.language.parsing.grammar import grammar_text
from specdsl.language.parsing.parser import parse
from specdsl.language.printing.printer import print_expression
from specdsl.language.spec import Spec
from specdsl.language.types import RecordType
from specdsl.source import Source
from tests.language.strategies import PLAIN_NAMES, expressions, operations, programs

ROBUST = """spec 1.0
param eps: real = 2/255 in [0, 1]
param file: string = "net.onnx"
enum Class { cat, dog }
space Image { pixels: real[4] in [0, 1] }
network net: Image -> real[Class] = onnx(file)
dataset test: (Image, label[Class]) = csv("data.csv", label = "class")
region ball(x, r) = norm_ball(x, r, linf) & box(0, 1)
let score(x) = net(x).cat - net(x).dog
property robust(x, y, r) { forall z in ball(x, r)  let e = eps  show argmax(net(z)) == y }
property all_robust = forall (x, y) in test[0:2]: robust(x, y, eps)
property cats { forall x in Image  show score(x) >= 0 }
check all_robust as accuracy using milp report certified_accuracy expect certified_accuracy >= 0.9
check cats
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "robust.spec").write_text(ROBUST)
    return tmp_path


def checked(folder: Path, text: str, **overrides: str) -> Spec:
    path = folder / "main.spec"
    path.write_text("spec 1.0\n" + text)
    program = parse(read_source(path))
    dotted = {name.replace("__", "."): value for name, value in overrides.items()}
    return check(program, dotted, base=folder, working_directory=folder)


def findings(folder: Path, text: str, **overrides: str) -> list[str]:
    """Codes, each with the file, line and text it points at."""
    try:
        spec = checked(folder, text, **overrides)
    except SpecError as error:
        found = error.diagnostics
    else:
        found = spec.warnings
    return [
        f"{d.code} {Path(d.primary.span.source.name).name} {d.primary.span.text}"
        if d.primary
        else d.code
        for d in found
    ]


def error_text(folder: Path, text: str, **overrides: str) -> str:
    with pytest.raises(SpecError) as caught:
        checked(folder, text, **overrides)
    return "\n\n".join(map(render, caught.value.diagnostics)).replace(f"{folder}/", "")


# --- what a module brings in ---------------------------------------------------------------------


def test_everything_a_module_declares_is_there_under_its_alias(folder: Path) -> None:
    spec = checked(folder, 'import "robust.spec" as m')
    assert spec.parameters["m.eps"] == Fraction(2, 255)
    assert [*spec.networks] == ["m.net"]
    assert [*spec.datasets] == ["m.test"]
    assert [*spec.regions] == ["m.ball"]
    assert [*spec.functions] == ["m.score"]
    assert [*spec.properties] == ["m.robust", "m.all_robust", "m.cats"]
    assert spec.enums["m.Class"].labels == ("cat", "dog")
    assert (spec.values["m.cat"], spec.values["m.dog"]) == (0, 1)
    kind = spec.networks["m.net"].input
    assert isinstance(kind, RecordType)
    assert kind.name == "m.Image"


def test_an_import_runs_nothing(folder: Path) -> None:
    assert checked(folder, 'import "robust.spec" as m').checks == ()


def test_names_types_labels_and_outputs_of_a_module_can_be_used(folder: Path) -> None:
    spec = checked(
        folder,
        """import "robust.spec" as m
network other: m.Image -> real[m.Class] = onnx("other.onnx")
property same = forall x in m.Image: (argmax(m.net(x)) == m.cat) => (other(x).cat >= other(x).dog)
property near(x: m.Image, r) = forall z in m.ball(x, r): m.score(z) >= -m.eps
check same, near(m.test[0].input, 1/10), forall (x, y) in m.test[0:1]: m.robust(x, y, m.eps)
""",
    )
    assert len(spec.checks) == 1


def test_a_module_without_as_is_called_like_its_file(folder: Path) -> None:
    assert "robust.eps" in checked(folder, 'import "robust.spec"').parameters


def test_one_file_under_two_names_is_two_copies(folder: Path) -> None:
    spec = checked(
        folder,
        """import "robust.spec" as a with { eps = 1/10 }
import "robust.spec" as b with { eps = 1/5  file = "other.onnx" }
check a, b
""",
    )
    assert (spec.parameters["a.eps"], spec.parameters["b.eps"]) == (Fraction(1, 10), Fraction(1, 5))
    paths = [spec.networks[f"{m}.net"].onnx for m in "ab"]
    assert [p.path.name for p in paths if p] == ["net.onnx", "other.onnx"]
    texts = [full_text(claim) for c in spec.checks for claim in c.properties]
    assert texts == ["a.all_robust", "a.cats", "b.all_robust", "b.cats"]


def test_functions_of_two_copies_are_typed_apart(folder: Path) -> None:
    # Both are at one place of one file; only their parameter tells them apart.
    (folder / "k.spec").write_text(
        "spec 1.0\nparam n: int = 1\nlet pick(v) = v[n]\nnetwork f: real[2] -> real[2] = "
        'onnx("f.onnx")\nproperty p = forall x in box([0, 0], [1, 1]): pick(f(x)) >= 0\n'
    )
    text = """import "k.spec" as a
import "k.spec" as b with { n = 2 }
network f: real[2] -> real[2] = onnx("f.onnx")
property q = forall x in box([0, 0], [1, 1]): a.pick(f(x)) >= 0 and b.pick(f(x)) >= 0
"""
    assert findings(folder, text) == ["E0306 k.spec n"]


def test_modules_import_modules(folder: Path) -> None:
    (folder / "sub").mkdir()
    (folder / "sub" / "inner.spec").write_text(
        'spec 1.0\nparam n: int = 3\nparam f: string = "i.onnx"'
    )
    (folder / "sub" / "outer.spec").write_text(
        'spec 1.0\nparam n: int = 4\nimport "inner.spec" as k with { n = n + 1 }\n'
        "const twice = 2 * k.n\nnetwork net: real -> real = onnx(k.f)\n"
    )
    spec = checked(
        folder, 'import "sub/outer.spec" as m with { n = 7 }\nconst a = m.k.n + m.twice\n'
    )
    assert (spec.parameters["m.k.n"], spec.values["m.twice"], spec.values["a"]) == (8, 16, 24)
    onnx = spec.networks["m.net"].onnx
    assert onnx
    assert onnx.path == folder / "sub" / "i.onnx"


# --- parameters ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "override", "expected"),
    [("", None, Fraction(2, 255)), ("with { eps = e / 2 }", None, Fraction(1, 8))],
)
def test_with_goes_before_the_default(
    folder: Path, setting: str, override: None, expected: Fraction
) -> None:
    spec = checked(folder, f'const e = 1/4\nimport "robust.spec" as m {setting}')
    assert spec.parameters["m.eps"] == expected


def test_the_command_line_goes_before_with(folder: Path) -> None:
    text = 'import "robust.spec" as m with { eps = 1/4 }'
    assert checked(folder, text, m__eps="1/3").parameters["m.eps"] == Fraction(1, 3)


def test_paths_are_relative_to_the_file_that_writes_them(folder: Path) -> None:
    (folder / "lib").mkdir()
    (folder / "lib" / "robust.spec").write_text(ROBUST)
    text = """import "lib/robust.spec" as a
import "lib/robust.spec" as b with { file = "here.onnx" }
network c: real[4] -> real = onnx(a.file)
"""
    spec = checked(folder, text, b__eps="0")
    onnx = [spec.networks[name].onnx for name in ("a.net", "b.net", "c")]
    expected = ["lib/net.onnx", "here.onnx", "lib/net.onnx"]
    assert [o.path for o in onnx if o] == [folder / name for name in expected]
    assert spec.datasets["a.test"].paths == (folder / "lib" / "data.csv",)
    given = checked(folder, text, a__file="x.onnx").networks["a.net"].onnx
    assert given
    assert given.path == folder / "x.onnx"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ('import "robust.spec" as m with { epsilon = 1 }', "E0213 main.spec epsilon"),
        ('import "robust.spec" as m with { eps = 3 }', "E0402 main.spec 3"),
        ('import "robust.spec" as m with { eps = "a" }', 'E0302 main.spec "a"'),
        ('import "robust.spec" as m with { eps = 1 eps = 1/2 }', "E0803 main.spec eps = 1/2"),
        ('import "robust.spec" as m with { eps = nothing }', "E0201 main.spec nothing"),
        (
            'import "robust.spec" as m with { eps = later }\nconst later = 1',
            "E0204 main.spec later",
        ),
        ('import "robust.spec" as m\nconst a = m.epsilon', "E0211 main.spec epsilon"),
        ('import "robust.spec" as m\nconst a = m', "E0212 main.spec m"),
        ('import "robust.spec" as m\nconst a = n.eps', "E0201 main.spec n"),
        (
            'import "robust.spec" as m\nnetwork f: m.Imag -> real = onnx("f.onnx")',
            "E0211 main.spec m.Imag",
        ),
        ('import "robust.spec" as m\nproperty p(x: m) = true', "E0212 main.spec m"),
        ('const m = 1\nimport "robust.spec" as m', 'E0202 main.spec "robust.spec"'),
        ('import "robust.spec" as m\nimport "robust.spec" as m', 'E0202 main.spec "robust.spec"'),
        ('import "no.spec" as m\nconst a = m.eps + m.eta', 'E0501 main.spec "no.spec"'),
        (
            'import "no.spec" as m\nnetwork f: m.I -> real = onnx("f.onnx")\ncheck m, m.a',
            'E0501 main.spec "no.spec"',
        ),
        ('import "." as m', 'E0502 main.spec "."'),
        ('import "../robust.spec" as m', 'E0810 main.spec "../robust.spec"'),
        ('import "" as m', 'E0811 main.spec ""'),
        ('import "main.spec" as m', 'E0210 main.spec "main.spec"'),
        ('import "a-b.spec"', 'E0217 main.spec "a-b.spec"'),
        ('import "robust.spec" as m\ncheck m.cts', "E0211 main.spec cts"),
        ('import "robust.spec" as m\ncheck m.net', "E0703 main.spec m.net"),
        ('const a = m.eps\nimport "robust.spec" as m', "E0204 main.spec m.eps"),
    ],
)
def test_a_mistake_is_found_once_and_where_it_was_made(folder: Path, text: str, code: str) -> None:
    assert findings(folder, text) == [code]


def test_a_binary_file_is_refused(folder: Path) -> None:
    (folder / "b.spec").write_bytes(b"\x80\x81\xff")
    assert findings(folder, 'import "b.spec" as m') == ['E0505 main.spec "b.spec"']


def test_all_syntax_errors_of_a_module_are_shown_in_its_own_text(folder: Path) -> None:
    (folder / "bad.spec").write_text("spec 1.0\nconst = 1\nparam a: real = 1\nproperty p { }}\n")
    found = findings(folder, 'import "bad.spec" as m\nimport "bad.spec" as k\nconst a = m.b')
    assert len(found) >= 2
    assert all(" bad.spec " in each for each in found)


def test_type_errors_of_a_module_use_its_own_names(folder: Path) -> None:
    (folder / "bad.spec").write_text(
        "spec 1.0\nconst eps = 1\nspace Image { p: real[2] in [0, 1] }\n"
        'network f: Image -> real = onnx("f.onnx")\n'
        "property p = forall x in Image: f(eps) >= eeps\nparam c: int\n"
    )
    for text in ('import "bad.spec" as m', 'import "bad.spec" as m\nimport "bad.spec" as k'):
        shown = error_text(folder, text)
        assert "`m.eps`" not in shown
        assert "m.Image" not in shown
        assert shown.count("error[") == 3
        assert "`f` takes Image" in shown
        assert "did you mean `eps`?" in shown
        assert "`-D m.c=...`" in shown


def test_a_cycle_is_shown_step_by_step(folder: Path) -> None:
    for name, other in (("a", "b"), ("b", "c"), ("c", "a")):
        (folder / f"{name}.spec").write_text(f'spec 1.0\nimport "{other}.spec" as x\n')
    shown = error_text(folder, 'import "a.spec" as m')
    assert "`a.spec` -> `b.spec` -> `c.spec` -> `a.spec`" in shown
    assert "c.spec:2:8" in shown
    assert "a.spec:2:8: imports `b.spec`" in shown


def test_a_link_out_of_the_folder_is_refused(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "out.spec"
    elsewhere.write_text("spec 1.0\n")
    (folder / "out.spec").symlink_to(elsewhere)
    assert findings(folder, 'import "out.spec" as m') == ['E0810 main.spec "out.spec"']
    program = parse(Source(str(folder / "main.spec"), 'spec 1.0\nimport "out.spec" as m\n'))
    check(program, base=folder, working_directory=folder, allow=(elsewhere.parent,))


# --- limits --------------------------------------------------------------------------------------


def timed(folder: Path, text: str) -> list[str]:
    start = time.perf_counter()
    found = findings(folder, text)
    assert time.perf_counter() - start < 1
    return found


def test_a_chain_of_doubling_imports_ends_soon(folder: Path) -> None:
    parse(Source("warm", "spec 1.0"))
    for i in range(20):
        lines = "".join(f'import "d{i + 1}.spec" as {c}\n' for c in "abc")
        (folder / f"d{i}.spec").write_text("spec 1.0\n" + lines)
    (folder / "d20.spec").write_text("spec 1.0\n")
    found = timed(folder, 'import "d0.spec" as m')
    assert [f.split()[0] for f in found] == ["E0214"]


def test_deep_imports_end_soon(folder: Path) -> None:
    parse(Source("warm", "spec 1.0"))
    for i in range(20):
        (folder / f"d{i}.spec").write_text(f'spec 1.0\nimport "d{i + 1}.spec" as a\n')
    (folder / "d20.spec").write_text("spec 1.0\n")
    assert timed(folder, 'import "d0.spec" as m')[0].startswith("E0214 d15.spec")


# --- check m -------------------------------------------------------------------------------------


def test_check_m_runs_its_checks_with_their_options(folder: Path) -> None:
    first, second = checked(folder, 'import "robust.spec" as m\ncheck m').checks
    assert (first.name, second.name) == ("m.accuracy", None)
    assert first.backend
    assert first.backend.name == "milp"
    assert [r.name for r in first.reports] == ["certified_accuracy"]
    assert len(first.expects) == 1


def test_options_of_the_importing_file_go_before(folder: Path) -> None:
    text = """import "robust.spec" as m
check m.accuracy using search report clean_accuracy expect clean_accuracy > 0 as mine
"""
    (only,) = checked(folder, text).checks
    assert only.name == "mine"
    assert only.backend
    assert only.backend.name == "search"
    assert [r.name for r in only.reports] == ["clean_accuracy"]
    assert [e.span.text for e in only.expects] == ["clean_accuracy > 0"]


def test_check_m_name_takes_a_property_too(folder: Path) -> None:
    (only,) = checked(folder, 'import "robust.spec" as m\ncheck m.cats, not m.cats').checks
    assert [full_text(p) for p in only.properties] == ["m.cats", "not m.cats"]


def test_several_checks_under_one_name_stay_apart(folder: Path) -> None:
    found = checked(folder, 'import "robust.spec" as m\ncheck m as all').checks
    assert [c.name for c in found] == ["all.accuracy", "all.2"]


def test_checks_of_a_module_of_a_module(folder: Path) -> None:
    (folder / "outer.spec").write_text('spec 1.0\nimport "robust.spec" as k\ncheck k.accuracy\n')
    text = 'import "outer.spec" as m\ncheck m\ncheck m.k.cats as c\n'
    first, second = checked(folder, text).checks
    assert (first.name, second.name) == ("m.k.accuracy", "c")
    assert [full_text(p) for p in first.properties] == ["m.k.all_robust"]


def test_a_module_without_checks_has_nothing_to_run(folder: Path) -> None:
    (folder / "none.spec").write_text("spec 1.0\nconst a = 1\n")
    assert findings(folder, 'import "none.spec" as m\ncheck m') == ["E0215 main.spec m"]


# --- renaming keeps the meaning ------------------------------------------------------------------


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


def test_reserved_words_are_those_of_the_grammar() -> None:
    (line,) = (x for x in grammar_text().splitlines() if x.startswith("NAME:"))
    assert set(line.partition("(?:")[2].partition(")")[0].split("|")) == set(RESERVED)
    assert is_name("x_1")
    assert not is_name("in")
    assert not is_name("1x")
    assert not is_name("")


def test_a_program_without_imports_is_left_alone() -> None:
    program = parse(Source("f.spec", "spec 1.0\nconst a = 1\n"))
    found = expand(program, base=Path())
    assert isinstance(found, Expanded)
    assert found.program is program
