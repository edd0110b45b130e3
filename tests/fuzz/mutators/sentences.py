"""Random sentences of a grammar, from the rules that lark has compiled."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from random import Random

# Symbols are names; a rule of the grammar maps to its alternatives.
Rules = Mapping[str, Sequence[tuple[str, ...]]]
Word = Callable[[Random, str], str]


@dataclass(frozen=True)
class Sentences:
    """`rules`: every nonterminal's alternatives; `word` spells a terminal."""

    rules: Rules
    word: Word

    @cached_property
    def depth(self) -> Mapping[str, int]:
        """The least number of rules nested in what a nonterminal can become."""
        found: dict[str, int] = {}
        changed = True
        while changed:
            changed = False
            for name, alternatives in self.rules.items():
                depths = [self._needs(a, found) for a in alternatives]
                known = [d for d in depths if d is not None]
                if known and min(known) + 1 < found.get(name, 10**9):
                    found[name] = min(known) + 1
                    changed = True
        return found

    def _needs(self, symbols: tuple[str, ...], found: Mapping[str, int]) -> int | None:
        inner = [found.get(s) for s in symbols if s in self.rules]
        return None if None in inner else max((d for d in inner if d is not None), default=0)

    def sentence(self, random: Random, start: str, depth: int) -> str:
        """Words of `start` with blanks between; beyond `depth` always the shortest way out."""
        words: list[str] = []
        pending = [(start, depth)]
        while pending and len(words) < 400:
            symbol, left = pending.pop()
            if symbol not in self.rules:
                words.append(self.word(random, symbol))
                continue
            alternatives = self.rules[symbol]
            fitting = [a for a in alternatives if (self._needs(a, self.depth) or 0) < left]
            if not fitting:
                fitting = [min(alternatives, key=lambda a: self._needs(a, self.depth) or 0)]
            pending += [(s, left - 1) for s in reversed(random.choice(fitting))]
        return " ".join(words)
