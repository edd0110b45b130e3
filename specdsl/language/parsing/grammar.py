"""The text of the grammar, wherever the package was installed."""

from __future__ import annotations

from pathlib import Path

FILE_NAME = "specdsl.lark"


def grammar_text() -> str:
    """The grammar: `specdsl/grammars/` in a wheel, the sibling folder `grammars/` in a checkout.

    Raises FileNotFoundError where the installation lost it.
    """
    package = Path(__file__).resolve().parents[2]
    installed = package / "grammars" / FILE_NAME
    path = installed if installed.is_file() else package.parent / "grammars" / FILE_NAME
    return path.read_text(encoding="utf-8")
