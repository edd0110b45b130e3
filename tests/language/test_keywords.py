"""Every keyword that is not reserved is a name wherever a name is asked for, in every position."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest

from specdsl.language import syntax
from specdsl.language.parsing.grammar import grammar_text
from specdsl.language.parsing.parser import parse
from specdsl.language.parsing.scan import RESERVED
from specdsl.language.printing.printer import print_program
from specdsl.source import Source


def keywords() -> list[str]:
    """The words that stand in quotes in the grammar, and those whose terminals look ahead."""
    text = re.sub(r"//.*", "", grammar_text())
    quoted = re.findall(r'"([a-z]+)"', text)
    looking = re.findall(r"^_[A-Z]+(?:\.\d+)?: /([a-z]+)\(\?", text, re.MULTILINE)
    return sorted({*quoted, *looking} - set(RESERVED))


KEYWORDS = keywords()


def item(text: str) -> syntax.Item:
    program = parse(Source("t.spec", f"spec 1.0\n{text}\nconst last = 1\n"))
    assert len(program.items) == 2, "the next statement is one of its own"
    # What is printed is read back as the same tree.
    assert parse(Source("p.spec", print_program(program))) == program
    return program.items[0]


def test_the_list_is_that_of_the_grammar() -> None:
    assert {"by", "normalize", "encode", "noise", "tol", "spec"} <= set(KEYWORDS)
    assert len(KEYWORDS) == 46


def in_every_position(entry: str, others: Sequence[str]) -> list[str]:
    a, b = others
    return [f"{entry} {a} {b}", f"{a} {entry} {b}", f"{a} {b} {entry}"]


PLAIN = ("aa: real in [0, 1]", "bb: int")
FULL = (
    "aa: real `m` in [0, 1] normalize (mean = 1)",
    "bb: category in [0, 1] encode one_hot",
)


@pytest.mark.parametrize("word", KEYWORDS)
@pytest.mark.parametrize("others", [PLAIN, FULL])
@pytest.mark.parametrize("rest", ["", " in [0, 1]", " normalize (range = 2)", " encode one_hot"])
def test_as_the_name_of_a_field(word: str, others: tuple[str, str], rest: str) -> None:
    for body in in_every_position(f"{word}: real{rest}", others):
        space = item(f"space S {{ {body} }}")
        assert isinstance(space, syntax.Space)
        assert {f.name for f in space.fields} == {"aa", "bb", word}
        (field,) = (f for f in space.fields if f.name == word)
        assert (field.normalize is not None) == ("normalize (" in rest)
        assert (field.encode is not None) == ("encode " in rest)


SETTINGS = ("aa = 1", "bb = f(x)")


@pytest.mark.parametrize("word", KEYWORDS)
@pytest.mark.parametrize("comma", ["", ","])
def test_as_the_name_of_a_setting(word: str, comma: str) -> None:
    for body in in_every_position(f"{word} = 2", tuple(f"{s}{comma}" for s in SETTINGS)):
        written = body.replace("= 2", f"= 2{comma}")
        dataset = item(f'dataset d: Image = idx("a", "b") {{ {written} }}')
        assert isinstance(dataset, syntax.Dataset)
        assert {s.name for s in dataset.settings} == {"aa", "bb", word}


@pytest.mark.parametrize("word", KEYWORDS)
def test_as_the_name_of_a_setting_among_other_lines(word: str) -> None:
    lines = ("layer dense(2)", "layer c = relu skip add(from = c)")
    for body in in_every_position(f"{word} = 2", lines):
        network = item(f"network n: A -> B {{ {body} }}")
        assert isinstance(network, syntax.Network)
        assert [s.name for s in network.layers if isinstance(s, syntax.Setting)] == [word]
    training = (
        "epochs = 3 let k = ramp(1, 2, epochs = 1..2) minimize k * clean_loss()",
        'constrain violation(p) <= 1 by lagrangian(lr = 1) regularize l1(weights) save onnx("f")',
    )
    for body in in_every_position(f"{word} = 2", training):
        train = item(f"train n on d {{ {body} }}")
        assert isinstance(train, syntax.Train)
        names = [s.name for s in train.items if isinstance(s, syntax.Setting)]
        assert sorted(names) == sorted(["epochs", word])


@pytest.mark.parametrize("word", KEYWORDS)
def test_as_the_name_of_an_argument(word: str) -> None:
    for order in ([f"{word} = 2", "aa = 1", "bb = 1"], ["aa = 1", f"{word} = 2", "bb = 1"]):
        const = item(f"const c = f({', '.join(order)})")
        assert isinstance(const, syntax.Const)
        assert isinstance(const.value, syntax.Call)
        names = {a.name for a in const.value.arguments if isinstance(a, syntax.NamedArgument)}
        assert names == {"aa", "bb", word}


@pytest.mark.parametrize("word", KEYWORDS)
@pytest.mark.parametrize(
    "text",
    [
        "const c = a.{0} + {0} + a.{0}.{0}[{0}]({0})",
        "enum E {{ {0}, aa }}",
        "enum E {{ aa, {0}, bb }}",
        "enum {0} {{ aa, {0}, }}",
        'import "f.spec" as {0} with {{ {0} = 1 aa = 2 }}',
        "param {0}: {0} = {0} in [{0}, {0}]",
        "const {0} = {0}",
        "space {0} {{ {0}: {0} in [{0}, {0}] }}",
        "network {0}: {0} -> {0} = {0}({0})",
        "network n: ({0}: A, b: {0}) -> ({0}: real[{0}], c: {0}.{0}) = {0} >> {0}",
        "dataset {0}: ({0}, {0}[{0}]) = {0}({0})",
        "region {0}({0}) = {0} & {0}",
        "let {0}({0}: {0}): {0} = {0}",
        "let ({0}, b) = {0}",
        "property {0}({0}) {{ forall {0} in {0} where {0} show {0} }}",
        "property {0} = forall {0} in {0}, b in {0}: {0} >= |{0}| and not {0}",
        "system {0} {{ state {0}: {0} in {0} action {0} = {0} noise {0} in {0} next {0} = {0} }}",
        "check {0}, {0} using {0}({0} = {0}) report {0}, {0}({0}) expect {0} >= 1 as {0}",
        "maximize {0} over {0} in {0} where {0} for {0} in {0} using {0}",
        "minimize {0} over {0} in {0}, b in {0} for ({0}, c) in {0} as {0}",
        "largest {0} in [{0}, {0}] tol {0} such that {0} for {0} in {0}",
        "smallest {0} in [1, 2] such that {0} expect {0} <= 1 report {0}",
    ],
)
def test_as_any_other_name(word: str, text: str) -> None:
    item(text.format(word))
