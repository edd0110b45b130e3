"""Changes to JSON, value by value."""

from __future__ import annotations

import json
from collections.abc import Sequence
from random import Random
from typing import Any

from tests.fuzz.mutators import binary, numbers
from tests.fuzz.mutators.binary import rounds
from tests.fuzz.mutators.texts import ODD, decode, encode

MAX_CHARACTERS = 2**16


class Pairs(list[Any]):
    """An object as a list of `[name, value]`, in which a name may stand twice."""


class Bare(str):
    """A text that stands in JSON without quotes: numbers as only people write them."""

    __slots__ = ()


def mutate(random: Random, content: bytes, corpus: Sequence[bytes]) -> bytes:
    """A few values of a JSON text changed; now and then, or where it is none, some bytes."""
    try:
        root = json.loads(decode(content), object_pairs_hook=_pairs)
    except (ValueError, RecursionError):
        return binary.mutate(random, content, corpus)
    changed = encode(show(change(random, root)))
    return binary.mutate(random, changed, corpus) if random.random() < 0.1 else changed


def mutate_lines(random: Random, content: bytes, corpus: Sequence[bytes]) -> bytes:
    """A few lines of JSON left out, doubled or changed."""
    lines = content.split(b"\n")
    for _ in range(rounds(random)):
        at = random.randrange(len(lines))
        match random.randrange(5):
            case 0 if len(lines) > 1:
                del lines[at]
            case 1:
                lines[at:at] = [lines[at]] * random.choice((1, 1, 20))
            case _:
                lines[at] = mutate(random, lines[at], corpus)
    return b"\n".join(lines)


def _pairs(pairs: list[tuple[str, Any]]) -> Pairs:
    return Pairs([name, value] for name, value in pairs)


def change(random: Random, root: Any) -> Any:
    """A few values left out, doubled, exchanged, wrapped or replaced. `root` itself may change."""
    holder = [root]
    for _ in range(rounds(random)):
        _change(random, holder)
    return holder[0] if holder else Bare("")


def show(root: Any) -> str:
    """The text of a value, however deep, as far as `MAX_CHARACTERS` pieces go."""
    pieces: list[str] = []
    pending: list[Any] = [root]
    while pending and len(pieces) < MAX_CHARACTERS:
        value = pending.pop()
        if isinstance(value, _Mark):
            pieces.append(value.text)
        elif isinstance(value, list):
            named = isinstance(value, Pairs)
            pieces.append("{" if named else "[")
            inner: list[Any] = []
            for number, item in enumerate(value):
                inner += [_Mark(", ")] if number else []
                is_pair = named and isinstance(item, list) and len(item) == 2
                inner += [item[0], _Mark(": "), item[1]] if is_pair else [item]
            pending += reversed([*inner, _Mark("}" if named else "]")])
        elif isinstance(value, Bare):
            pieces.append(value)
        else:
            pieces.append(json.dumps(value, ensure_ascii=False))
    return "".join(pieces)


class _Mark:
    """Punctuation that is still to be written."""

    def __init__(self, text: str) -> None:
        self.text = text


def odd(random: Random) -> Any:
    """A value that nobody expects."""
    return random.choice(
        (
            *(None, True, False, [], Pairs(), "", "x", [[]], Pairs([["", None]]), [None], -1, 0.5),
            *(float("nan"), float("inf"), 2**53 + 1, 2**63, -(2**63) - 1, 1e308, 10**400),
            *(Bare("9" * 5000), Bare("1e999"), Bare("-0"), Bare("01"), Bare("'x'")),
            *(random.choice(ODD), "x" * 3000, decode(b"\xff"), numbers.integer(random)),
        )
    )


def _places(root: list[Any]) -> list[tuple[list[Any], int]]:
    """Every value, as the list that holds it and where; names and pairs of objects too."""
    found: list[tuple[list[Any], int]] = []
    pending: list[list[Any]] = [root]
    while pending and len(found) < 5_000:
        holder = pending.pop()
        found += [(holder, i) for i in range(len(holder))]
        pending += [value for value in holder if isinstance(value, list)]
    return found


def _change(random: Random, root: list[Any]) -> None:
    places = _places(root)
    if not places:
        return
    holder, at = random.choice(places)
    value = holder[at]
    match random.randrange(8):
        case 0:
            del holder[at]
        case 1:
            holder[at:at] = [value] * random.choice((1, 2, 30))
        case 2:
            other, there = random.choice(places)
            if not isinstance(value, list):
                other[there] = value
        case 3:
            for _ in range(random.choice((1, 2, 30, 500, 3_000))):
                value = [value]
            holder[at] = value
        case 4 if isinstance(value, int):
            holder[at] = random.choice((value + 1, value - 1, -value, Bare(f"{value}.0")))
        case 5 if isinstance(value, str):
            holder[at] = value[:1] + random.choice(ODD) + value[1:]
        case _:
            holder[at] = odd(random)
