"""The page on networks lists the ATen ops: `python -m tests.docs.test_networks_page`."""

from __future__ import annotations

import re
from pathlib import Path
from textwrap import fill

from specdsl.graph.torch_import.rules import RULES

PAGE = Path(__file__).parents[2] / "docs" / "networks.md"
WIDTH = 108


def with_ops(text: str) -> str:
    """The page with the list of ATen ops made anew."""
    public = sorted(name for name in RULES if not name.startswith("_"))
    listed = fill(" ".join(f"`{name}`" for name in public), WIDTH, break_on_hyphens=False)
    marks = re.compile(r"(<!-- aten -->\n).*?(<!-- end -->)", re.DOTALL)
    return marks.sub(lambda m: f"{m[1]}\n{listed}\n{m[2]}", text)


def test_the_page_lists_the_ops() -> None:
    text = PAGE.read_text()
    assert "<!-- aten -->" in text
    assert text == with_ops(text)


if __name__ == "__main__":
    PAGE.write_text(with_ops(PAGE.read_text()))
