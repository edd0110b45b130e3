"""Modules: what `import` brings in, under which names, and what is said where it cannot."""

from __future__ import annotations

import time
from fractions import Fraction
from pathlib import Path

import pytest

from specdsl.diagnostics import SpecError, render
from specdsl.language.checking.check import check
from specdsl.language.modules.expand import Expanded, expand
from specdsl.language.modules.namespaces import RESERVED, is_name
from specdsl.language.modules.wording import full_text
from specdsl.language.parsing.grammar import grammar_text
from specdsl.language.parsing.parser import parse
from specdsl.language.types import RecordType
from specdsl.source import Source
from tests.language.modules import ROBUST, checked, findings


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


def test_a_name_may_be_a_word_that_other_options_take(folder: Path) -> None:
    """`crown` is a choice of `bounds` in `milp`, and of nothing in `search`."""
    text = "param crown: int = 7 property p = 0 <= 1 check p as c using search(batch = crown)"
    (folder / "words.spec").write_text(f"spec 1.0 {text} check p as d using milp(bounds = crown)")
    spec = checked(folder, 'import "words.spec" as m check m.c check m.d')
    asked = [check.backend for check in spec.checks]
    assert [dict(choice.options) for choice in asked if choice] == [
        {"batch": Fraction(7)},
        {"bounds": "crown"},
    ]


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


def test_a_program_without_imports_is_left_alone() -> None:
    program = parse(Source("f.spec", "spec 1.0\nconst a = 1\n"))
    found = expand(program, base=Path())
    assert isinstance(found, Expanded)
    assert found.program is program


def test_reserved_words_are_those_of_the_grammar() -> None:
    (line,) = (x for x in grammar_text().splitlines() if x.startswith("NAME:"))
    assert set(line.partition("(?:")[2].partition(")")[0].split("|")) == set(RESERVED)
    assert is_name("x_1")
    assert not is_name("in")
    assert not is_name("1x")
    assert not is_name("")


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
