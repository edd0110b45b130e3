"""The page on networks lists the ATen ops: `python -m tests.docs.test_networks_page`."""

from __future__ import annotations

from pathlib import Path
from textwrap import fill

from specdsl.graph.torch_import.rules import RULES
from tests.docs.pages import with_parts

PAGE = Path(__file__).parents[2] / "docs" / "networks.md"
WIDTH = 108


def with_ops(text: str) -> str:
    """The page with the list of ATen ops made anew."""
    public = sorted(name for name in RULES if not name.startswith("_"))
    listed = fill(" ".join(f"`{name}`" for name in public), WIDTH, break_on_hyphens=False)
    return with_parts(text, {"aten": f"\n{listed}\n"})


def test_the_page_lists_the_ops() -> None:
    text = PAGE.read_text()
    assert text == with_ops(text)


if __name__ == "__main__":
    PAGE.write_text(with_ops(PAGE.read_text()))
