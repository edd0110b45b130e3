"""Statements that keep to the width of a script, broken as formatters break them."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import wrap

WIDTH = 100
INDENT = "    "
_OPEN, _CLOSE = "([{", ")]}"


def call(head: str, arguments: Sequence[str], tail: str = "", depth: int = 1) -> list[str]:
    """`head(arguments)tail` at a depth of indentation, on as many lines as it takes.

    An argument may itself take several lines; they are indented with it.
    """
    indent = INDENT * depth
    whole = f"{indent}{head}({', '.join(arguments)}){tail}"
    if len(whole) <= WIDTH and "\n" not in whole:
        return [whole]
    inner = f"{indent}{INDENT}{', '.join(arguments)}"
    if len(inner) <= WIDTH and "\n" not in inner:
        return [f"{indent}{head}(", inner, f"{indent}){tail}"]
    parts: list[str] = []
    for argument in arguments:
        lines = f"{argument},".splitlines()
        parts += [f"{indent}{INDENT}{line}" for line in lines]
    return [f"{indent}{head}(", *parts, f"{indent}){tail}"]


def nested(head: str, arguments: Sequence[str], depth: int) -> str:
    """A call as an argument of another one that stands at `depth`."""
    lines = call(head, arguments, tail=",", depth=depth)
    lines[-1] = lines[-1][:-1]
    indent = INDENT * depth
    return "\n".join(line.removeprefix(indent) for line in lines)


def comment(text: str, depth: int = 1) -> list[str]:
    """A comment, on as many lines as it takes."""
    indent = INDENT * depth
    parts = wrap(text, WIDTH - len(indent) - 2, break_long_words=False, break_on_hyphens=False)
    return [f"{indent}# {part}" for part in parts]


def statement(text: str, depth: int = 1) -> list[str]:
    """`target = head(arguments)`, `return head(arguments)` or `head(arguments)`, broken in its
    arguments where it is too long, and in the arguments of these.

    Other expressions stay on one line: sums are kept short by giving their parts names.
    """
    whole = f"{INDENT * depth}{text}"
    place = _last_call(text)
    if len(whole) <= WIDTH or place is None:
        return [whole]
    head, arguments = text[:place], split(text[place + 1 : -1])
    fitted: list[str] = []
    for argument in arguments:
        # One more for the comma behind it.
        lines = statement(f"{argument},"[:-1], depth + 1)
        long = len(lines[0]) == WIDTH and len(lines) == 1
        lines = _broken(argument, depth + 1) if long else lines
        fitted.append("\n".join(line.removeprefix(INDENT * (depth + 1)) for line in lines))
    return call(head, fitted, depth=depth)


def _broken(text: str, depth: int) -> list[str]:
    place = _last_call(text)
    if place is None:
        return [f"{INDENT * depth}{text}"]
    indent = INDENT * depth
    inner = f"{indent}{INDENT}{text[place + 1 : -1]}"
    return [f"{indent}{text[: place + 1]}", inner, f"{indent})"]


def _last_call(text: str) -> int | None:
    """Where the bracket opens that closes at the end; None where the text ends in none."""
    if not text.endswith(")"):
        return None
    depth = 0
    for place in range(len(text) - 1, -1, -1):
        depth += (text[place] in _CLOSE) - (text[place] in _OPEN)
        if depth == 0:
            return place
    return None


def split(arguments: str) -> list[str]:
    """Arguments at the commas outside of brackets and texts."""
    found, depth, quoted = [""], 0, False
    for letter in arguments:
        quoted ^= letter == '"'
        depth += 0 if quoted else (letter in _OPEN) - (letter in _CLOSE)
        if letter == "," and depth == 0 and not quoted:
            found.append("")
        else:
            found[-1] += letter
    return [part.strip() for part in found if part.strip()]
