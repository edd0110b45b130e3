"""Every mistake gives the diagnostics it should: one for each, placed, with a way out.

A first line `# overrides: name=value ...` stands for `-D` on the command line.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from specdsl.codes import CODES
from specdsl.diagnostics import SpecError, render
from specdsl.files import read_source
from specdsl.language.checking.check import check
from specdsl.language.parsing.parser import parse
from specdsl.source import Source

BROKEN = Path(__file__).parent / "broken"
GOLDEN = Path(__file__).parents[1] / "golden"
FILES = sorted(BROKEN.glob("[ew][0-9]*.spec"))
# Codes of the command line and of elaboration are exercised where those are tested.
ELSEWHERE = re.compile(r"[EW]0[78]5\d")


def overrides_of(text: str) -> dict[str, str]:
    first = text.split("\n", 1)[0]
    if not first.startswith("# overrides:"):
        return {}
    return dict(pair.split("=", 1) for pair in first.removeprefix("# overrides:").split())


def diagnose(path: Path) -> str:
    source = Source(path.name, read_source(path).text)
    try:
        spec = check(
            parse(source),
            overrides_of(source.text),
            base=BROKEN,
            working_directory=BROKEN,
        )
    except SpecError as error:
        found = error.diagnostics
    else:
        found = spec.warnings
    return "\n\n".join(render(item) for item in found)


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_a_broken_spec_gives_these_diagnostics(path: Path, golden) -> None:
    text = diagnose(path)
    assert path.stem[:5].upper() in text, f"the file is about {path.stem[:5]}, which is not found"
    golden.check(f"check/{path.stem}.txt", text)


def test_every_code_of_the_checker_is_shown_by_some_golden() -> None:
    shown = {
        code
        for file in GOLDEN.rglob("*.txt")
        for code in re.findall(r"^(?:error|warning)\[(\w+)\]", file.read_text(), re.MULTILINE)
    }
    mine = {c for c in CODES if re.match(r"E0[234789]|W", c) and not ELSEWHERE.match(c)}
    assert mine - shown == set()


def test_there_are_at_least_twenty_broken_specs() -> None:
    assert len(FILES) >= 20
