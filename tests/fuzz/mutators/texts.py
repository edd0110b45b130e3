"""Changes to texts, word by word."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from tests.fuzz.mutators import numbers
from tests.fuzz.mutators.binary import rounds

# Beyond this a text is long, which is a test of its own: one mutant in a hundred is.
USUAL_CHARACTERS = 6_000
MAX_CHARACTERS = 2**17
LONG = 0.01

ODD = (
    *("\0", "\x0b", "\x1b[31m", "\x85", "\r", "\xa0", "\u200b", "\u2028", "\ufeff", "\ufffd"),
    *("é", "e\u0301", "µ", "°", "π", "ﬁ", "İ", "ß", "𝒙", "\U0001f600", "\u202e", "\ud800"),
    *("\udcff", "'", '"', "`", "\\", "$", ";", "#", "~", "%", "!", "?", "…", "≤", "×", "−"),
)
DEPTHS = (2, 10, 50, 99, 101, 120, 300, 480, 900, 1_000, 5_000)


def decode(content: bytes) -> str:
    """Text from any bytes, such that `encode` gives them back."""
    return content.decode(errors="surrogateescape")


def encode(text: str) -> bytes:
    """Bytes from any text, single surrogates included, which are no UTF-8."""
    try:
        return text.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        return text.encode(errors="surrogatepass")


PLAIN = ("0", "1", "2", "3", "7", "10", "100", "1000", "100000000", "0.5", "0.1", "1e-9", "1e30")
OPERATORS = (
    *("+", "-", "*", "/", "@", "^", "<=", ">=", "<", ">", "==", "!=", "and", "or", "=>", ">>"),
)


def _kind(word: str) -> str:
    """Words of one kind may stand for one another."""
    if word in OPERATORS:
        return "operator"
    if word[:1].isdigit():
        return "number"
    return "name" if word.isidentifier() else word[:1]


@dataclass(frozen=True, slots=True)
class Language:
    """What a text is made of.

    `words` finds its words, everything else included; `known` are words that mean something in it;
    `openings` are pairs of what opens and what closes again.
    """

    words: re.Pattern[str]
    known: Sequence[str]
    openings: Sequence[tuple[str, str]]

    def mutate(self, random: Random, content: bytes, corpus: Sequence[bytes]) -> bytes:
        """A few words left out, doubled, exchanged, replaced, or put in."""
        words = self.words.findall(decode(content))
        for _ in range(rounds(random)):
            self.change(random, words, corpus)
        if random.random() < LONG and words:
            words *= random.choice((2, 10, 1 + MAX_CHARACTERS // sum(map(len, words))))
            return encode("".join(words)[:MAX_CHARACTERS])
        return encode("".join(words)[:USUAL_CHARACTERS])

    def gently(self, random: Random, content: bytes) -> bytes:
        """One or two words replaced by others of their kind, mostly so that it stays understood."""
        words = self.words.findall(decode(content))
        for _ in range(random.choice((1, 1, 2))):
            at = random.randrange(len(words)) if words else 0
            kinds = [i for i, word in enumerate(words) if _kind(word) == _kind(words[at])]
            if not kinds:
                break
            if words[at][:1].isdigit():
                words[at] = random.choice(PLAIN) if random.random() < 0.7 else numbers.text(random)
            elif words[at] in OPERATORS:
                words[at] = random.choice(OPERATORS)
            else:
                words[at] = words[random.choice(kinds)]
        return encode("".join(words))

    def change(self, random: Random, words: list[str], corpus: Sequence[bytes]) -> None:
        """One change in place."""
        at = random.randrange(len(words) + 1)
        to = at + random.choice((1, 1, 1, 2, 3, 8, 30))
        other = random.randrange(len(words) + 1)
        match random.randrange(12):
            case 0:
                del words[at:to]
            case 1:
                words[at:at] = words[at:to] * random.choice((1, 1, 1, 3, 20))
            case 2 if at < len(words) and other < len(words):
                words[at], words[other] = words[other], words[at]
            case 3:
                words[other:other] = words[at:to]
            case 4:
                words[at:to] = self._piece(random, corpus)
            case 5:
                words[at : at + 1] = [random.choice(self.known)]
            case 6:
                words[at:at] = [random.choice(self.known), " "]
            case 7:
                self._number(random, words)
            case 8 if at < len(words):
                cut = random.randrange(len(words[at]) + 1)
                words[at] = words[at][:cut] + random.choice(ODD) + words[at][cut:]
            case 9:
                self._nest(random, words, at, to)
            case 10:
                self._name(random, words)
            case _:
                del words[at:]

    def _piece(self, random: Random, corpus: Sequence[bytes]) -> list[str]:
        """Some words in a row from another text."""
        text = decode(random.choice(corpus))
        start = random.randrange(len(text) + 1)
        return self.words.findall(text[start : start + random.choice((10, 40, 200))])

    def _number(self, random: Random, words: list[str]) -> None:
        places = [i for i, word in enumerate(words) if word[:1].isdigit()]
        if places:
            words[random.choice(places)] = numbers.text(random)

    def _name(self, random: Random, words: list[str]) -> None:
        """One name replaced by another of the text."""
        places = [i for i, word in enumerate(words) if word.isidentifier()]
        if places:
            words[random.choice(places)] = words[random.choice(places)]

    def _nest(self, random: Random, words: list[str], at: int, to: int) -> None:
        """Something opened very often, and closed again or not."""
        opening, closing = random.choice(self.openings)
        depth = random.choice(DEPTHS)
        if random.random() < 0.6:
            words[to:to] = [closing] * depth
        words[at:at] = [opening] * depth
