"""Whatever a file holds: diagnostics within seconds of work, never a traceback."""

from __future__ import annotations

import gc
import random
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from specdsl.diagnostics import SpecError, render
from specdsl.files import read_source, source_of
from specdsl.language.checking.check import check
from specdsl.language.parsing import parser
from specdsl.language.parsing.parser import parse
from specdsl.language.parsing.scan import lexemes
from specdsl.language.printing.formatter import format_source
from specdsl.source import Source
from tests.cli.conftest import Cli, cli
from tests.conftest import SHARED

__all__ = ["cli"]

ROOT = Path(__file__).resolve().parents[2]

# Of processor time; the machine that runs the tests does other things too.
SECONDS = 5.0

OPENINGS = {
    "parenthesis": "(",
    "list": "[",
    "set": "{",
    "call": "f(",
    "named argument": "f(a = ",
    "index": "x[",
    "slice": "x[:",
    "absolute": "|x + ",
    "quantifier": "forall x in ",
    "condition": "if ",
    "comprehension": "f(x for x in ",
    "set of": "{ x for x in ",
    "subset": "{ x in R where ",
    "negation": "not ",
    "sign": "-",
    "power": "x^",
    "attribute": "a.",
    "range": "1..",
    "chain": "a < ",
    "member": "a in ",
    "text": '"',
    "unit": "2 `",
    "block": "property p { where ",
    "layers": "network n: a -> b { layer ",
    "type": "network n: (",
    "type arguments": "param a: real[",
    "settings": 'import "f.spec" as m with { a = ',
    "space": "space S { a: real normalize (",
    "enum": "enum E { ",
    "training": "train a on { minimize ",
    "system": "system s { state x: real in ",
    "query": "largest r in [",
}


def diagnose(text: str) -> list[str]:
    """The codes found, every diagnostic rendered and encoded; within the time.

    Once more where it took longer: a heap full of what other tests left slows a first run down.
    """
    parser._lark()
    seconds, codes = timed(text)
    if seconds >= SECONDS:
        seconds, codes = timed(text)
    assert seconds < SECONDS
    return codes


def timed(text: str) -> tuple[float, list[str]]:
    gc.collect()
    start = time.process_time()
    codes: list[str] = []
    try:
        program = parse(Source("bad.spec", text))
        check(program, {}, base=ROOT, working_directory=ROOT)
    except SpecError as error:
        for item in error.diagnostics:
            shown = render(item)
            shown.encode()
            assert max(map(len, shown.splitlines())) < 400
            codes.append(item.code)
    return time.process_time() - start, codes


@pytest.mark.parametrize("opening", OPENINGS.values(), ids=OPENINGS)
@pytest.mark.parametrize("start", ["let a = ", ""], ids=["within", "alone"])
@pytest.mark.parametrize("count", [500, 5_000])
def test_what_is_opened_and_never_closed(opening: str, start: str, count: int) -> None:
    assert diagnose(start + opening * count)
    assert diagnose(f"{start}{opening}\n" * 50)


@pytest.mark.parametrize("kind", ["()", "[]", "{}", "||"])
def test_what_is_nested_and_closed(kind: str) -> None:
    opening, closing = kind
    assert diagnose("let a = " + opening * 500 + "1" + closing * 500)
    assert diagnose("let a = " + closing * 500)


AXES: dict[str, tuple[str, Callable[[int], str]]] = {
    "list": ("E0310", lambda n: "let a = " + "[" * n + "1" + "]" * n),
    "type": ("E0304", lambda n: "param a: real[" + "1, " * n + "]"),
    "layer": (
        "E0620",
        lambda n: "network f: real[1] -> real[1] { layer reshape([" + "1, " * n + "]) }",
    ),
}


@pytest.mark.parametrize("name", AXES)
def test_tensors_have_at_most_16_axes(name: str) -> None:
    code, text = AXES[name]
    assert code not in diagnose(text(16))
    assert code in diagnose(text(17))
    assert code in diagnose(text(70))


@pytest.mark.parametrize(
    "number",
    [
        "1e999",
        "1e-999",
        "9" * 5000,
        "0." + "9" * 5000,
        "1" + "_1" * 50000,
        "1." * 5000,
        "1e" + "9" * 5000,
        "0" * 5000 + "1",
        "1__2",
        "0x" + "f" * 5000,
    ],
    ids=lambda text: text[:12],
)
def test_numbers_beyond_all_bounds(number: str) -> None:
    assert diagnose(f"let a = {number}")
    assert diagnose(f"param a: real = {number} in [0, 1]")
    assert diagnose(f"let a = x[{number}:{number}] `{number}`")


def soup(alphabet: str, count: int) -> str:
    return "".join(random.Random(0).choices(alphabet, k=count))


TEXTS: dict[str, Callable[[], str]] = {
    "zeros": lambda: "\0" * 100_000,
    "zero in a statement": lambda: "let a = 1\0 + 2",
    "zero in a text": lambda: 'import "a\0b.spec" as m',
    "surrogates": lambda: "let a = \ud800 + \udfff",
    "surrogate in a text": lambda: 'import "\ud800.spec" as m\nlet \ud800 = "\udcff"',
    "marks of byte order": lambda: "\ufeff" * 1000,
    "terminal commands": lambda: "let a = \x1b[31m\x07 \x9b x",
    "odd blanks": lambda: "let\x0ba\x0c=\u2028\u00a0\u200b1",
    "any characters": lambda: soup("".join(map(chr, range(1, 0x3000))), 100_000),
    "any ASCII": lambda: soup("".join(map(chr, range(32, 127))), 100_000),
    "brackets": lambda: soup("()[]{}|,.:=", 100_000),
    "quotes": lambda: soup('"`\\\n', 100_000),
    "a long name": lambda: "let a = " + "x" * 200_000,
    "a long line": lambda: "let a = " + "y " * 100_000,
    "a long text": lambda: 'import "' + "x" * 100_000 + '.spec" as m',
    "a long path": lambda: 'import "' + "x/" * 10_000 + '.spec" as m',
    "many lines": lambda: "y\n" * 100_000,
    "many statements": lambda: "let a = 1\n" * 100_000,
    "many commas": lambda: "let a = [" + "," * 100_000,
    "many operators": lambda: "let a = " + "+-*/" * 20_000,
    "many strange statements": lambda: "lett = 1\n" * 20_000,
}


@pytest.mark.parametrize("make", TEXTS.values(), ids=TEXTS)
def test_texts_that_mean_nothing(make: Callable[[], str]) -> None:
    assert diagnose(make())


@pytest.mark.parametrize("text", ["\n" * 100_000, " " * 200_000, "# remark\n" * 20_000, ""])
def test_texts_that_say_nothing(text: str) -> None:
    assert set(diagnose(text)) <= {"W0901"}


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_line_ends_and_a_mark_of_byte_order_make_no_difference(end: str, mark: bytes) -> None:
    text = "spec 1.0\nlet a = 1 +\n  2\nlet b = # remark\n  a\n"
    source = source_of("bad.spec", mark + text.replace("\n", end).encode())
    assert source.text == text
    assert parse(source) == parse(Source("bad.spec", text))


# --- files ----------------------------------------------------------------------------------------

FILES: dict[str, tuple[str, Callable[[], bytes]]] = {
    "10 MB of noise": ("E0505", lambda: random.Random(0).randbytes(10 * 2**20)),
    "10 MB of zeros": ("E0102", lambda: bytes(10 * 2**20)),
    "10 MB of text": ("E0102", lambda: b"let a = 1\n" * 2**20),
    "17 MB": ("E0503", lambda: bytes(17 * 2**20)),
    "Latin 1": ("E0505", lambda: "let größe = 1".encode("latin-1")),
    "UTF-16": ("E0505", lambda: "spec 1.0\nlet a = 1".encode("utf-16")),
    "encoded surrogates": ("E0505", lambda: b"let a = \xed\xa0\x80"),
    "an image": ("E0505", lambda: b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"),
}


@pytest.mark.parametrize("name", FILES)
def test_files_of_another_kind(cli: Cli, name: str) -> None:
    code, make = FILES[name]
    Path("bad.spec").write_bytes(make())
    parser._lark()
    for command in ("check-syntax", "format"):
        start = time.process_time()
        run = cli(command, "bad.spec")
        assert time.process_time() - start < SECONDS
        assert run.code == 2
        assert f"error[{code}]" in run.err + run.out
        assert len(run.err + run.out) < 2000


@pytest.mark.parametrize(
    "path",
    [
        "../f.npz",
        "a/../../f.npz",
        "/etc/hostname",
        "C:\\f.npz",
        "link/f.npz",
        "",
        ".",
        "..",
        "~/f.npz",
        "f.npz\x00",
        "f\n.npz",
        "x" * 5000,
        "file:///etc/hostname",
        "//server/f.npz",
        "..\\f.npz",
    ],
    ids=lambda path: path[:20],
)
def test_paths_that_lead_elsewhere(cli: Cli, tmp_path: Path, path: str) -> None:
    (tmp_path / "link").symlink_to("/")
    written = path.replace("\\", "\\\\").replace("\n", "\\n")
    Path("bad.spec").write_text(
        f'spec 1.0\nimport "{written}" as m\n'
        f'dataset d: (real[2], label[2]) = npz("{written}")\n'
        "check forall (x, y) in d[0:1]: x[0] <= 1\n"
    )
    for command in ("check-syntax", "check"):
        run = cli(command, "bad.spec")
        assert run.code == 2, run
        assert "error[E" in run.err + run.out
        assert "internal error" not in run.err


# --- valid texts with some of their words changed -------------------------------------------------


def _whole_specs() -> list[str]:
    folders = [ROOT / "specs", ROOT / "tests/language/broken", SHARED / "design/examples"]
    paths = sorted(path for folder in folders for path in folder.glob("*.spec"))
    texts = [read_source(path).text for path in paths]
    return [text for text in texts if 0 < len(text) < 6000]


SPECS = _whole_specs()


@st.composite
def mutants(draw: st.DrawFn) -> str:
    """A spec with a few of its words left out, doubled, exchanged, or replaced by others."""
    text = draw(st.sampled_from(SPECS))
    words = [word.text for word in lexemes(text)]
    for _ in range(draw(st.integers(1, 3))):
        if len(words) < 3:
            break
        at = draw(st.integers(0, len(words) - 1))
        other = draw(st.integers(0, len(words) - 1))
        change = draw(st.sampled_from(["delete", "double", "swap", "copy"]))
        if change == "delete":
            del words[at]
        elif change == "double":
            words.insert(at, words[at])
        elif change == "swap":
            words[at], words[other] = words[other], words[at]
        else:
            words[at] = words[other]
    return " ".join(words)


def assert_only_diagnostics(text: str) -> None:
    source = Source("mutant.spec", text)
    with suppress(SpecError):
        program = parse(source)
        assert parse(Source("mutant.spec", format_source(source))) == program
        check(program, {}, base=ROOT / "specs", working_directory=ROOT / "specs")


@given(mutants())
@settings(max_examples=200, deadline=None)
def test_changed_specs_give_diagnostics_and_nothing_else(text: str) -> None:
    assert_only_diagnostics(text)


@pytest.mark.slow
@given(mutants())
@settings(max_examples=5_000, deadline=None)
def test_many_changed_specs_give_diagnostics_and_nothing_else(text: str) -> None:
    assert_only_diagnostics(text)
