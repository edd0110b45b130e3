"""Assignments of scripts that stand alone, broken as formatters break them."""

from __future__ import annotations

from collections.abc import Sequence

from specdsl.training.emit.lines import INDENT, WIDTH, call


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
