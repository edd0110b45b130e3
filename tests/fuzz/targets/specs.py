"""Specs: parsed and checked, formatted, and elaborated down to queries."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from random import Random

from tests.fuzz.mutators import numbers
from tests.fuzz.mutators.sentences import Sentences
from tests.fuzz.mutators.texts import Language, decode, encode
from tests.fuzz.target import Target
from tests.fuzz.watch import PROJECT

# Long specs take long, and say what short ones do.
LONGEST_SEED = 2_000
GENERATED = 0.15
DEEPEST = 12

_WORDS = re.compile(r"\s+|#[^\n]*|\"[^\"\n]*\"|`[^`\n]*`|\d[\w.]*|[^\W\d]\w*|\.\.|->|=>|[<>=!]=|.")
OPENINGS = (
    *(("(", ")"), ("[", "]"), ("{", "}"), ("|", "|"), ("f(", ")"), ("x[", "]"), ("-", "")),
    *(("not ", ""), ("x^", ""), ("if true then 1 else ", ""), ("forall x in X: ", "")),
    *(("(x, ", ")"), ("{ x for x in ", "}"), ("sum(", " for x in 0..9)"), ("[1, ", "]")),
    *(
        ("", ".a"),
        ("a and ", ""),
        ("a >> ", ""),
        ('"', '"'),
        ("`", "`"),
        ("#", "\n"),
        ("1..", ""),
        ("a < ", ""),
        ("region r = ", "\n"),
    ),
)
# Names of the language and of the files beside the spec.
FILES = (
    *('"networks/credit_careful.onnx"', '"data/digits-test-images-idx3-ubyte.gz"', '"robust.spec"'),
    *('"../secret"', '"/etc/passwd"', '""', '"."', '"lib/limits.spec"', '"fuzz.spec"'),
)
NAMES = (
    *("x", "y", "f", "net", "eps", "image", "label", "R", "p", "d", "m", "real", "int", "box"),
    "ball",
)


@cache
def _specs() -> tuple[bytes, ...]:
    folders = [PROJECT / "specs", PROJECT / "tests/language/broken"]
    paths = sorted(path for folder in folders for path in folder.rglob("*.spec"))
    contents = (path.read_bytes() for path in paths)
    return tuple(content for content in contents if len(content) <= LONGEST_SEED)


@cache
def _whole() -> tuple[bytes, ...]:
    """Specs without mistakes, whose networks are small."""
    paths = sorted((PROJECT / "specs").glob("*.spec"))
    return tuple(p.read_bytes() for p in paths if p.stem in ELABORATED)


ELABORATED = frozenset(
    {"credit", "double_integrator", "equivalence", "inline", "latent", "optimise", "robust"}
)


@cache
def language() -> Language:
    """The words of the grammar, and the names that specs use."""
    from specdsl.language.parsing.parser import _spellings

    used = {n for text in _specs() for n in re.findall(r"[^\W\d]\w*", decode(text))}
    return Language(_WORDS, (*_spellings().values(), *FILES, *NAMES, *sorted(used)), OPENINGS)


@cache
def _sentences() -> Sentences:
    """Random texts that the grammar allows; what they mean is another matter."""
    from specdsl.language.parsing.parser import _lark

    rules: dict[str, list[tuple[str, ...]]] = {}
    for rule in _lark().rules:
        symbols = tuple(symbol.name for symbol in rule.expansion)
        rules.setdefault(rule.origin.name, []).append(symbols)
    return Sentences(rules, _spelled)


def _spelled(random: Random, terminal: str) -> str:
    from specdsl.language.parsing.parser import _spellings

    match terminal:
        case "NAME":
            return random.choice(NAMES)
        case "NUMBER":
            return numbers.text(random) if random.random() < 0.3 else random.choice("0123")
        case "STRING":
            return random.choice(FILES)
        case "UNIT":
            return random.choice(("`m`", "`m/s`", "`kg*m^2/s`", "`%`", "``", "`EUR`", "`m^9999`"))
        case "CMP":
            return random.choice(("<=", ">=", "==", "!=", "<", ">"))
        case "ADD":
            return random.choice("+-")
        case "MUL":
            return random.choice(("*", "/", "@", ">>", "&"))
        case "VERSION":
            return "1.0"
        case _:
            return _spellings()[terminal]


def mutate(random: Random, content: bytes, corpus: Sequence[bytes]) -> bytes:
    """A spec changed word by word, or with new statements of the grammar behind it."""
    if random.random() > GENERATED:
        return language().mutate(random, content, corpus)
    count = random.choice((1, 1, 2, 3))
    new = [_sentences().sentence(random, "item", DEEPEST) for _ in range(count)]
    before = content if random.random() < 0.5 else b"spec 1.0\n"
    return before + encode("\n".join(new) + "\n")


def _mutate_gently(random: Random, content: bytes, corpus: Sequence[bytes]) -> bytes:
    """Mostly what is still understood: what comes after parsing and checking is to be reached."""
    if random.random() < 0.1:
        return mutate(random, content, corpus)
    return language().gently(random, content)


def _files(folder: Path) -> None:
    """What specs speak about."""
    shutil.copytree(PROJECT / "specs", folder, dirs_exist_ok=True)
    shutil.copytree(PROJECT / "tests/language/broken/lib", folder / "lib")


def _check(content: bytes, folder: Path) -> None:
    from specdsl.files import source_of
    from specdsl.language.checking.combinations import check_combinations
    from specdsl.language.parsing.parser import parse

    program = parse(source_of("fuzz.spec", content), require_header=True)
    check_combinations(program, {}, base=folder, working_directory=folder)


def _format(content: bytes, _folder: Path) -> None:
    from specdsl.files import source_of
    from specdsl.language.printing.formatter import format_source

    format_source(source_of("fuzz.spec", content))


def _elaborate(content: bytes, folder: Path) -> None:
    from specdsl.files import source_of
    from specdsl.language.checking.combinations import check_combinations
    from specdsl.language.parsing.parser import parse
    from specdsl.query.elaboration.values.resources import Resources
    from specdsl.run.obligations import obligations_of, sites_of

    program = parse(source_of("fuzz.spec", content))
    resources = Resources()
    for combination in check_combinations(program, {}, base=folder, working_directory=folder)[:2]:
        sites_of(combination, resources)
        for obligation in obligations_of(combination, resources)[:2]:
            obligation.query(resources)


TARGETS = (
    Target("spec", ".spec", _specs, mutate, _check, 1_000, _files),
    Target("format", ".spec", _specs, mutate, _format, 300, _files),
    Target("elaborate", ".spec", _whole, _mutate_gently, _elaborate, 150, _files),
)
