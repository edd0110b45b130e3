"""Assignments of scripts that stand alone, broken as formatters break them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from specdsl.training.emit.lines import INDENT, WIDTH, call

_SETTING = re.compile(r"  (?:(let) )?\w+ = ")


def fitted(line: str) -> list[str]:
    """An assignment in the width of a script: a call is broken at its arguments, anything else
    stands in parentheses.
    """
    if len(line) <= WIDTH:
        return [line]
    target, _, value = line.strip().partition(" = ")
    depth = (len(line) - len(line.lstrip())) // len(INDENT)
    head, opening, inner = value.partition("(")
    arguments = _arguments(inner.removesuffix(")"))
    if opening and head.replace(".", "_").isidentifier() and arguments is not None:
        return call(f"{target} = {head}", arguments, depth=depth)
    return call(f"{target} = ", [value], depth=depth)


def remarked(lines: Sequence[str]) -> list[str]:
    """Lines of a function: a remark stands behind the condition that follows it, if both fit."""
    found: list[str] = []
    for line in lines:
        remark = found[-1].strip() if found else ""
        both = f"{line}  {remark}"
        guarded = line.lstrip().startswith("if ") and remark.startswith("#")
        if guarded and len(both) <= WIDTH:
            found[-1] = both
            continue
        found += fitted(line)
    return found


def dense(directive: str) -> str:
    """The same directive with settings beside one another, and names beside names, where they fit.

    What takes several lines stays as it is.
    """
    lines = directive.splitlines()
    found: list[str] = []
    kinds: list[str] = []
    for line, after in zip(lines, [*lines[1:], ""], strict=True):
        setting = _SETTING.match(line)
        whole = setting is not None and _indent(after) <= _indent(line)
        kind = (setting.group(1) or "setting") if setting and whole else ""
        joined = f"{found[-1]}  {line.strip()}" if found else ""
        if kind and kind == kinds[-1] and len(joined) <= WIDTH:
            found[-1] = joined
            continue
        found.append(line)
        kinds.append(kind)
    return "\n".join(found)


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _arguments(text: str) -> list[str] | None:
    """What commas outside of brackets part; None where a bracket closes that none opened."""
    found, depth, start = list[str](), 0, 0
    for position, character in enumerate(text):
        depth += (character in "([{") - (character in ")]}")
        if depth < 0:
            return None
        if character == "," and depth == 0:
            found.append(text[start:position].strip())
            start = position + 1
    return [*found, text[start:].strip()]


def choice(target: str, options: Sequence[str], limits: Sequence[str], depth: int) -> list[str]:
    """`target = a if limit else b`, with one limit less than there are options."""
    text = "".join(f"{a} if {b} else " for a, b in zip(options, limits, strict=False))
    line = f"{INDENT * depth}{target} = {text}{options[-1]}"
    if len(line) <= WIDTH:
        return [line]
    inner = f"{INDENT * (depth + 1)}{text}{options[-1]}"
    parts = [inner]
    if len(inner) > WIDTH:
        texts = [options[0]]
        for limit, option in zip(limits, options[1:], strict=True):
            texts += [f"if {limit}", f"else {option}"]
        parts = [f"{INDENT * (depth + 1)}{text}" for text in texts]
    return [f"{INDENT * depth}{target} = (", *parts, f"{INDENT * depth})"]
