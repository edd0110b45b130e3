"""Every spec in the documentation is checked for real, with the verdict that it states."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

import specdsl

DOCS = Path(__file__).parents[2] / "docs"
# Blocks marked `spec types` speak of files that are not there: they are checked, not run.
BLOCK = re.compile(r"^```spec( types)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
STATED = re.compile(r"^check .*# (verified|falsified|unknown)\s*$", re.MULTILINE)
PAGES = ("language.md", "networks.md", "tutorial.md")


def blocks() -> list[tuple[str, str, bool]]:
    """Page and line of each block, its text, and whether it can be run."""
    found: list[tuple[str, str, bool]] = []
    for page in PAGES:
        path = DOCS / page
        text = path.read_text() if path.exists() else ""
        for match in BLOCK.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            found.append((f"{page}:{line}", match[2], match[1] is None))
    return found


BLOCKS = blocks()


def test_there_are_blocks() -> None:
    assert len(BLOCKS) > 8


RUN = [(name, text) for name, text, runs in BLOCKS if runs]
TYPED = [(name, text) for name, text, runs in BLOCKS if not runs]


@pytest.mark.parametrize("text", [b for _, b in TYPED], ids=[name for name, _ in TYPED])
def test_a_block_is_typed(text: str, tmp_path: Path) -> None:
    path = tmp_path / "block.spec"
    path.write_text(text)
    specdsl.load(path)


@pytest.mark.parametrize("text", [b for _, b in RUN], ids=[name for name, _ in RUN])
def test_a_block_does_what_it_says(text: str, tmp_path: Path) -> None:
    shutil.copytree(DOCS.parent / "specs" / "networks", tmp_path / "networks")
    path = tmp_path / "block.spec"
    path.write_text(text)
    report = specdsl.load(path).check(timeout=30)
    assert [d.message for d in report.diagnostics if d.severity == "error"] == []
    assert [d.message for r in report.results for d in r.diagnostics] == []
    stated = STATED.findall(text)
    lines = [line for line in text.splitlines() if line.startswith("check ")]
    if len(stated) == len(lines):
        for verdict, check in zip(stated, report.checks, strict=True):
            assert {r.verdict for r in check.results} == {verdict}, check.name
    assert all(e.met for check in report.checks for e in check.expects)
    assert all(r.complete for query in report.queries for r in query.results)
