"""What the checker makes of files that are in order, and laws it keeps on all files."""

from __future__ import annotations

import re
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from specdsl.diagnostics import Diagnostic, SpecError, render
from specdsl.files import read_source
from specdsl.language import constants
from specdsl.language.checking.check import check
from specdsl.language.evaluation import evaluate
from specdsl.language.parsing.parser import parse
from specdsl.language.spec import Spec
from specdsl.language.types import LabelType, RecordType, TensorType
from specdsl.source import Source

BASE = Path("/specs")
WORK = Path("/work")

IMAGE = """spec 1.0
space Image { pixels: real[1, 28, 28] in [0, 1] }
network net: Image -> real[10] = onnx("mnist.onnx")
dataset test: (Image, label[10]) = idx("images.gz", "labels.gz") { scale = 1/255 }
"""
ENCOUNTER = """spec 1.0
enum Advisory { COC, WL, WR, SL, SR }
space Encounter {
  rho: real `m` in [0, 60760] normalize (mean = 19791.091, range = 60261)
  theta: real `rad` in [-3.141592, 3.141592] normalize (mean = 0, range = 2 * 3.141592)
}
network acas: Encounter -> real[Advisory] =
  onnx("acas.onnx", denormalize = affine(scale = 373.94992, shift = 7.518884))
"""


def checked(text: str, **overrides: str) -> Spec:
    return check(parse(Source("t.spec", text)), overrides, base=BASE, working_directory=WORK)


def codes(text: str, **overrides: str) -> list[str]:
    try:
        checked(text, **overrides)
    except SpecError as error:
        return [d.code for d in error.diagnostics]
    return []


def claim(body: str, head: str = IMAGE) -> list[str]:
    return codes(f"{head}\nproperty p = {body}\ncheck p\n")


# --- examples of the design ----------------------------------------------------------------------


def example(shared: Path, letter: str) -> list[Diagnostic]:
    (path,) = (shared / "design" / "examples").glob(f"{letter}_*.spec")
    try:
        check(parse(read_source(path)), base=path.parent, working_directory=path.parent)
    except SpecError as error:
        return list(error.diagnostics)
    return []


@pytest.mark.parametrize("letter", "abcdefghi")
def test_the_design_examples_are_in_order(shared: Path, letter: str) -> None:
    assert example(shared, letter) == []


# --- what a spec holds ---------------------------------------------------------------------------


def test_a_space_keeps_its_bounds_units_and_normalisation_exactly() -> None:
    space = checked(ENCOUNTER).spaces["Encounter"]
    rho, theta = space.fields
    assert (rho.lower, rho.upper) == (0, 60760)
    assert (rho.mean, rho.range) == (Fraction("19791.091"), 60261)
    assert rho.type == TensorType((), "real", "m")
    assert theta.range == 2 * Fraction("3.141592")
    assert space.type == RecordType("Encounter", (("rho", rho.type), ("theta", theta.type)))


def test_a_network_keeps_its_path_types_and_denormalisation() -> None:
    spec = checked(ENCOUNTER)
    acas = spec.networks["acas"]
    assert acas.onnx is not None
    assert acas.onnx.path == BASE / "acas.onnx"
    assert (acas.onnx.scale, acas.onnx.shift) == (Fraction("373.94992"), Fraction("7.518884"))
    assert acas.output == TensorType((5,), "real", None, spec.enums["Advisory"])


def test_a_dataset_keeps_reader_paths_and_settings() -> None:
    data = checked(IMAGE).datasets["test"]
    assert data.reader == "idx"
    assert data.paths == (BASE / "images.gz", BASE / "labels.gz")
    assert data.settings == {"scale": Fraction(1, 255), "shift": Fraction(0)}
    assert isinstance(data.element[1], LabelType)


def test_readers_fill_in_their_defaults() -> None:
    text = IMAGE + 'dataset other: (Image, label[10]) = npz("d.npz", labels = "target")\n'
    assert checked(text).datasets["other"].arguments == {"inputs": "x", "labels": "target"}
    text = IMAGE + 'dataset other: (Image, label[10]) = sklearn("digits")\n'
    assert checked(text).datasets["other"].arguments == {"name": "digits"}


def test_labels_are_values_in_order_of_declaration() -> None:
    assert checked(ENCOUNTER).values["WR"] == 2


def test_literals_are_never_rounded() -> None:
    values = checked(
        "spec 1.0\nconst a = 2/255\nconst b = 0.1 + 0.2\nconst c = [[1, 1/3]]\n"
    ).values
    assert values["a"] == Fraction(2, 255)
    assert values["b"] == Fraction(3, 10)
    assert values["c"].tolist() == [[1, Fraction(1, 3)]]


def test_functions_of_constants_are_worked_out() -> None:
    text = "spec 1.0\nlet half(x) = x / 2\nlet a = half(half(3))\n"
    text += "let b = if a < 1 then min(a, 1/2) else 9\n"
    spec = checked(text)
    assert spec.values["a"] == Fraction(3, 4)
    assert spec.values["b"] == Fraction(1, 2)
    assert set(spec.functions) == {"half"}


def test_a_let_that_needs_a_file_is_kept_as_syntax() -> None:
    spec = checked(IMAGE + "let x0 = test[7].input\nlet (a, b) = test[3]\nlet z = net(x0)\n")
    assert set(spec.functions) == {"x0", "a", "b", "z"}


def test_a_check_keeps_backend_reports_and_expectations() -> None:
    text = IMAGE + (
        "property p(r) = forall (x, y) in test[0:5]: forall z in norm_ball(x, r, linf) & box(0, 1):"
        " margin(net(z), y) > 0\n"
        "check p(1/100) as small using incomplete(method = crown, timeout = 5 `s`)\n"
        '  report certified_accuracy, per_sample("a.csv") expect certified_accuracy >= 9/10\n'
    )
    (only,) = checked(text).checks
    assert only.name == "small"
    assert only.backend is not None
    assert only.backend.options == {"method": "crown", "timeout": 5}
    assert [(r.name, r.arguments) for r in only.reports] == [
        ("certified_accuracy", ()),
        ("per_sample", ("a.csv",)),
    ]
    assert len(only.expects) == 1


# --- the command line ----------------------------------------------------------------------------

PARAMETERS = """spec 1.0
param eps: real = 2/255 in [0, 1]
param p: norm = linf
param count: int = 10
param flag: bool = false
param net_file: string = "a.onnx"
param far: real `m` = 3
network f: real[2] -> real[2] = onnx(net_file)
"""


def test_overrides_are_read_exactly() -> None:
    given = {"eps": "4/255", "p": "l2", "count": "2 * 4", "flag": "true", "far": "5 `m`"}
    parameters = checked(PARAMETERS, **given).parameters
    expected = {"eps": Fraction(4, 255), "p": "l2", "count": 8, "flag": True, "far": 5}
    assert {name: parameters[name] for name in given} == expected


def test_a_path_from_the_command_line_is_relative_to_the_working_directory() -> None:
    for text in ("../elsewhere/b.onnx", '"../elsewhere/b.onnx"'):
        network = checked(PARAMETERS, net_file=text).networks["f"]
        assert network.onnx is not None
        assert network.onnx.path == Path("/elsewhere/b.onnx")


def test_a_default_path_is_relative_to_the_spec() -> None:
    network = checked(PARAMETERS).networks["f"]
    assert network.onnx is not None
    assert network.onnx.path == BASE / "a.onnx"


def test_a_folder_can_be_allowed() -> None:
    text = 'spec 1.0\nnetwork f: real[2] -> real[2] = onnx("../other/f.onnx")\n'
    program = parse(Source("t.spec", text))
    with pytest.raises(SpecError):
        check(program, base=BASE, working_directory=WORK)
    allowed = (Path("/other"),)
    spec = check(program, base=BASE, working_directory=WORK, allow=allowed)
    assert spec.networks["f"].onnx is not None


def test_a_link_out_of_the_folder_leaves_it(tmp_path: Path) -> None:
    inside = tmp_path / "specs"
    inside.mkdir()
    (inside / "f.onnx").symlink_to(tmp_path / "secret.onnx")
    program = parse(Source("t.spec", 'spec 1.0\nnetwork f: real[2] -> real[2] = onnx("f.onnx")\n'))
    with pytest.raises(SpecError, match="E0810"):
        check(program, base=inside, working_directory=inside)


@pytest.mark.parametrize(
    "text", ["", " ", "1 const b = 2", "eps", "1/0", "9" * 5000, "in [0, 1]", "'", "l2", "1..2"]
)
def test_a_bad_override_is_a_diagnostic(text: str) -> None:
    assert codes(PARAMETERS, eps=text) in (["E0311"], ["E0860"])


# --- claims --------------------------------------------------------------------------------------

BALL = "forall z in norm_ball(test[0].input, 1/10, linf) & box(0, 1): "


@pytest.mark.parametrize(
    "body",
    [
        "forall x in Image: all(net(x) <= 5) or any(net(x) >= 6)",
        "forall x in Image: net(x)[3] - 2 * net(x)[4] <= 1/2",
        "forall x in Image: 0 <= net(x)[3] <= 1 => not net(x)[4] >= 1",
        "forall (x, y) in test: forall z in norm_ball(x, 1/10, l2) & Image: net(z)[y] > net(z)[0]",
        "forall x in Image, i in 1..9: net(x)[0] <= net(x)[i]",
        "forall x in Image, i in one_of(1, 3): net(x)[0] <= net(x)[i]",
        "exists x in Image: argmax(net(x)) == 3",
        "forall x in Image where x.pixels[0, 3, 4] >= 1/2: argmax(net(x)) != 3",
        "forall d in [0, 1/10]: argmax(net(test[3].input + d)) == test[3].label",
        "forall a in Image, b in Image where all(a <= b): net(a)[0] <= net(b)[0]",
        "forall x in Image where x in norm_ball(test[0].input, 1/8, linf): argmax(net(x)) == 3",
        BALL + "margin(net(z), test[0].label) >= 1/10",
        BALL + "argmax(net(z)) == argmax(net(test[0].input))",
        BALL + "if 1 < 2 then argmax(net(z)) == 1 else argmin(net(z)) == 2",
        "(forall x in Image: net(x)[0] <= 1) and not (exists x in Image: net(x)[0] >= 2)",
    ],
)
def test_these_claims_are_in_order(body: str) -> None:
    assert claim(body) == []


def test_unknown_names_and_types_are_refused() -> None:
    assert claim("forall x in test: argmax(net(x)) == 1") == ["E0301"]
    assert claim("forall x in box([0, 0], [1, 1]): argmax(net(x)) == 1") == ["E0301"]
    assert claim("forall x in Image: net(x)[-1] <= 1") == ["E0306"]
    assert claim("forall x in Image: net(x)[0, 1] <= 1") == ["E0305"]
    assert claim("forall x in [0, 1, 2]: x >= 0") == ["E0403"]


def test_a_quantified_let_is_read_under_the_negations_around_its_use() -> None:
    text = IMAGE + (
        "let bounded = forall x in Image: net(x)[0] <= 1\n"
        "property p = exists y in Image: net(y)[1] >= 0 and bounded\n"
        "property q = exists y in Image: net(y)[1] >= 0 and not bounded\n"
        "check p, q\n"
    )
    assert codes(text) == ["E0705"]


def test_one_mistake_in_a_function_gives_one_diagnostic_however_often_it_is_called() -> None:
    text = (
        IMAGE + "let f(x) = nett(x)\n" + "property p = forall x in Image: f(x)[0] <= f(x)[1]\n" * 1
    )
    assert codes(text + "check p\ncheck p\n") == ["E0201"]


def test_several_mistakes_are_reported_in_one_run_in_order() -> None:
    text = IMAGE + "const a = b\nconst c = 1 / 0\nregion r = 3\n"
    assert codes(text) == ["E0201", "E0404", "E0302"]


def test_what_was_reported_once_spreads_no_further() -> None:
    text = (
        'spec 1.0\nconst a = b\nconst c = a + 1\nnetwork f: real[c] -> real[c] = onnx("f.onnx")\n'
    )
    assert codes(text + "property p = forall x in box(0, a): f(x) <= c\ncheck p\n") == ["E0201"]


def test_calls_in_chains_are_typed_once() -> None:
    # Each function calls the one above twice: without memory this would take 2^28 steps.
    lines = ["spec 1.0", "let f0(x) = x"]
    lines += [f"let f{i}(x) = f{i - 1}(x) + f{i - 1}(x)" for i in range(1, 29)]
    assert checked("\n".join([*lines, "const a = f28(1)"])).values["a"] == 2**28


def test_local_functions_see_the_arguments_of_each_call() -> None:
    text = IMAGE + (
        "property p(c) { let scaled(z) = c * net(z)[0]  forall x in Image  show scaled(x) <= 1 }\n"
        "property q = forall y in Image: p(y.pixels[0, 0, 0])\n"
        "check p(2), q\n"
    )
    assert codes(text) == []
    assert codes(text.replace("c * net(z)[0]", "net(z)[0] ^ c")) == ["E0312"]
    only = text.replace("c * net(z)[0]", "net(z)[0] ^ c").replace("check p(2), q", "check p(2)")
    assert codes(only.replace("property q", "# ")) == []


def test_long_chains_are_no_deep_nesting() -> None:
    chain = " and ".join(f"net(x)[{i % 10}] <= {i}" for i in range(150))
    assert claim(f"forall x in Image: {chain}") == []


# --- inline networks -----------------------------------------------------------------------------


def test_inline_layers_are_followed_through_their_shapes() -> None:
    text = """spec 1.0
space Image { pixels: real[1, 28, 28] in [0, 1] }
network net: Image -> real[10] {
  layer normalize(mean = 0.1307, std = 0.3081)
  layer c1 = conv(16, kernel = 4, stride = 2, padding = 1)
  layer relu
  layer conv(32, kernel = 4, stride = 2, padding = 1)
  layer leaky_relu(1/100)
  skip add(from = c1, by = conv(32, kernel = 1, stride = 2))
  layer flatten
  layer dense(100)
  layer clip(-1, 1)
  layer dense(10)
  init = ibp(seed = 0)
}
"""
    assert set(checked(text).networks) == {"net"}
    assert codes(text.replace("real[10] {", "real[11] {")) == ["E0621"]
    assert codes(text.replace("  layer flatten\n", "")) == ["E0621"]
    assert codes(text.replace("from = c1", "from = c2")) == ["E0620"]
    same = "layer flatten\n  layer reshape([16, 7, 14])\n  layer flatten"
    assert codes(text.replace("layer flatten", same)) == []
    assert codes(text.replace("layer flatten", same.replace("14", "13"))) == ["E0621"]
    assert codes(text.replace("layer flatten", same.replace("14", "1/2"))) == ["E0620"]
    # Weights are asked for where the network is: by elaboration.
    assert codes(text + "property p = forall x in Image: argmax(net(x)) == 1\ncheck p\n") == []


SENSELESS = [
    *(
        "norm([1, 2], l2)",
        "norm([1, 2], 3)",
        "norm(1)",
        "clip(1)",
        "clip(1, [2, 3], 4)",
        "dot([1])",
    ),
    *("[1, 2] @ [1, 2, 3]", "1 @ 2", "[1, 2][2]", "[1, 2][0:3]", "margin([1, 2], 5)", "max(true)"),
]
"""Functions of constants with arguments that they do not take."""


# --- constants -----------------------------------------------------------------------------------


def value(text: str, **names: object) -> object:
    (item,) = parse(Source("t", f"const a = {text}")).items
    return evaluate(item.value, names)


@settings(max_examples=60)
@given(st.fractions(), st.fractions(), st.fractions(min_value=1))
def test_evaluation_is_exact_arithmetic(a: Fraction, b: Fraction, c: Fraction) -> None:
    assert value("(a + b) * 2 - b / c", a=a, b=b, c=c) == (a + b) * 2 - b / c
    assert value("a < b or a == b", a=a, b=b) == (a <= b)
    assert value("-a ^ 2", a=a) == -(a**2)


@settings(max_examples=40)
@given(st.lists(st.fractions(), min_size=1, max_size=5))
def test_tensors_are_worked_on_entry_by_entry(entries: list[Fraction]) -> None:
    tensor = constants.tensor(entries, (len(entries),))
    doubled = value("2 * v", v=tensor)
    assert isinstance(doubled, np.ndarray)
    assert doubled.tolist() == [2 * e for e in entries]
    assert value("max(v) - min(v)", v=tensor) == max(entries) - min(entries)


def test_functions_of_constant_tensors_are_exact() -> None:
    assert value("norm([3, -4], l2)") == 5
    assert value("norm([3, -4], l1) + norm([3, -4], linf)") == 11
    assert value("mean([1, 2, 4])") == Fraction(7, 3)
    assert value("dot([1, 2], [3, 4])") == value("[1, 2] @ [3, 4]") == 11
    assert value("sum([[1, 2], [3, 4]] @ [1, 1])") == 10
    assert value("clip(7, 0, 5) + relu(-3)") == 5
    assert value("sum(flatten([[1, 2], [3, 4]])[1:3])") == 5
    assert value("sum([[1, 2], [3, 4]][1])") == 7
    assert value("margin([1, 5, 3], 1)") == 2


@pytest.mark.parametrize(
    "text", ["1/0", "x", "2 ^ (1/2)", "[1, [2]]", "10 ^ 400", "true + 1", "1 < true", *SENSELESS]
)
def test_what_has_no_value_is_a_placed_diagnostic(text: str) -> None:
    with pytest.raises(SpecError) as error:
        value(text)
    assert error.value.diagnostics[0].primary is not None


# --- the house -----------------------------------------------------------------------------------


def test_checking_loads_no_heavy_library() -> None:
    script = (
        "import sys, specdsl.language.checking.check\n"
        "heavy = {'torch', 'pyomo', 'z3', 'onnx', 'onnxruntime', 'matplotlib', 'sklearn'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


# --- anything that parses ------------------------------------------------------------------------

TOKEN = re.compile(r"\"[^\"]*\"|`[^`]*`|\w+(?:\.\d+)?|\s+|[^\w\s]")
BROKEN = [path.read_text() for path in sorted(Path(__file__).parent.glob("broken/*.spec"))]
FILES = [text for text in [IMAGE, ENCOUNTER, PARAMETERS, *BROKEN] if len(text) < 1_000]


@st.composite
def mutated_files(draw: st.DrawFn) -> str:
    """A file with a few tokens replaced by tokens of another."""
    words = TOKEN.findall(draw(st.sampled_from(FILES)))
    others = TOKEN.findall(draw(st.sampled_from(FILES)))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(words) - 1))
        words[at : at + draw(st.integers(0, 2))] = [draw(st.sampled_from(others)), " "]
    return "".join(words)


@settings(max_examples=300, deadline=None)
@given(mutated_files())
def test_whatever_parses_is_checked_or_refused_with_placed_diagnostics(text: str) -> None:
    try:
        program = parse(Source("t.spec", text))
    except SpecError:
        return
    try:
        spec = check(program, base=BASE, working_directory=WORK)
    except SpecError as error:
        for item in error.diagnostics:
            assert item.primary is not None
            assert render(item)
    else:
        assert isinstance(spec, Spec)
