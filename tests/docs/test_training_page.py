"""The page about training shows the script that its example is."""

from __future__ import annotations

import re
from pathlib import Path

from specdsl.language.checking.check import check
from specdsl.language.parsing.parser import parse
from specdsl.source import Source
from specdsl.training.emit.given import given_for
from specdsl.training.emit.script import script
from specdsl.training.plan.resolve import plans_of
from tests.docs.pages import with_parts

PAGE = Path(__file__).parents[2] / "docs" / "training.md"


def with_script(text: str) -> str:
    """The page with the script of its first example that trains."""
    blocks = re.findall(r"```spec types\n(.*?)```", text, re.DOTALL)
    example = next(block for block in blocks if "\ntrain " in block)
    folder = Path("/digits")
    program = parse(Source("/digits/digits.spec", example))
    spec = check(program, base=folder, working_directory=folder)
    (plan,) = plans_of(spec)
    shown = script(plan, given_for(plan, spec, folder))
    return with_parts(text, {"script": f"\n```python\n{shown}```\n"})


def test_the_page_shows_the_script() -> None:
    text = PAGE.read_text()
    assert text == with_script(text)


if __name__ == "__main__":
    PAGE.write_text(with_script(PAGE.read_text()))
