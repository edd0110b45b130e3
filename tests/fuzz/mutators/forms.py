"""Changes to texts of nested parentheses, form by form."""

from __future__ import annotations

import re
from collections.abc import Sequence
from random import Random
from typing import Any

from tests.fuzz.mutators.binary import rounds
from tests.fuzz.mutators.texts import MAX_CHARACTERS, Language, decode, encode

# A form is a list of words and forms; blanks are not kept, except the ends of lines.
Form = list[Any]

_WORD = re.compile(r'[()]|"[^"]*"|;[^\n]*|[^\s()";]+|"')
HEADS = ("and", "or", "not", "+", "-", "*", "/", "=>", "<=", ">=", "<", ">", "==", "!=", "=")


def parse(text: str) -> Form:
    """The forms of a text; what closes nothing is left out, and what is open at the end closed."""
    root: Form = []
    stack = [root]
    for word in _WORD.findall(text):
        if word == "(":
            inner: Form = []
            stack[-1].append(inner)
            stack.append(inner)
        elif word == ")":
            del stack[max(1, len(stack) - 1) :]
        else:
            stack[-1].append(word)
    return root


def show(root: Form) -> str:
    """The text of forms, each at the top on a line of its own; cut where it is far too long."""
    pieces: list[str] = []
    pending: list[Any] = [*reversed(root)]
    depth = 0
    # Forms that stand in several places can make a text that fills the machine.
    while pending and len(pieces) < MAX_CHARACTERS:
        item = pending.pop()
        if isinstance(item, list):
            depth += 1
            pieces.append("(")
            pending += [_CLOSE, *reversed(item)]
            continue
        depth -= item is _CLOSE
        pieces.append(")" if item is _CLOSE else item)
        comment = item is not _CLOSE and item.startswith(";")
        pieces.append("\n" if comment or not depth else " ")
    return "".join(pieces)


_CLOSE = object()


def mutate(random: Random, content: bytes, corpus: Sequence[bytes], language: Language) -> bytes:
    """A few forms left out, doubled, exchanged, wrapped, or taken from another text.

    One in three is changed word by word instead, which breaks what belongs together.
    """
    if random.random() < 0.34:
        return language.mutate(random, content, corpus)
    root = parse(decode(content))
    for _ in range(rounds(random)):
        _change(random, root, corpus, language)
    return encode(show(root)[:MAX_CHARACTERS])


def _places(root: Form) -> list[tuple[Form, int]]:
    """Every item of every form, as the form and the position in it."""
    found: list[tuple[Form, int]] = []
    pending = [root]
    while pending:
        form = pending.pop()
        found += [(form, i) for i in range(len(form))]
        pending += [item for item in form if isinstance(item, list)]
        if len(found) > 20_000:
            break
    return found


def _piece(random: Random, corpus: Sequence[bytes]) -> Any:
    """A word or form of another text."""
    found = _places(parse(decode(random.choice(corpus))))
    form, i = random.choice(found) if found else (["true"], 0)
    return form[i]


def _change(random: Random, root: Form, corpus: Sequence[bytes], language: Language) -> None:
    places = _places(root)
    if not places:
        root.append(random.choice(language.known))
        return
    form, i = random.choice(places)
    item = form[i]
    match random.randrange(9):
        case 0:
            del form[i]
        case 1:
            form[i:i] = [item] * random.choice((1, 1, 3, 40))
        case 2:
            other, j = random.choice(places)
            # A form inside of itself has no end.
            if not isinstance(item, list) and not isinstance(other[j], list):
                form[i], other[j] = other[j], form[i]
        case 3:
            form[i] = _piece(random, corpus)
        case 4:
            form[i] = [random.choice(HEADS), item, *random.choice(([], [item], ["0.5"], ["X_0"]))]
        case 5:
            for _ in range(random.choice((5, 50, 99, 101, 1_000))):
                item = [random.choice(HEADS[:4]), item]
            form[i] = item
        case 6 if isinstance(item, list):
            form[i : i + 1] = item
        case 7:
            words = [item] if isinstance(item, str) else ["0.0"]
            language.change(random, words, corpus)
            form[i : i + 1] = words
        case _:
            form[i] = random.choice(language.known)
