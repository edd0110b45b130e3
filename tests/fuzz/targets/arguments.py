"""What people type: values of parameters, selections, backends with options."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from random import Random

from tests.fuzz.mutators.texts import Language
from tests.fuzz.target import Target

_WORDS = re.compile(r"\s+|\d[\w.]*|[^\W\d]\w*|\.\.|.")
_KNOWN = (
    *("and", "or", "not", "one_of", "search", "milp", "smt", "portfolio", "attack", "lp", "linf"),
    *("timeout", "split", "neuron", "steps", "true", "1/255", "eps", "robust", ",", "=", ":", ".."),
)
_OPENINGS = (("(", ")"), ("[", "]"), ("not ", ""), ("-", ""), ("search(", ")"), ("one_of(", ")"))
LANGUAGE = Language(_WORDS, _KNOWN, _OPENINGS)

SPEC = """spec 1.0
param eps: real = 2/255 in [0, 1]
param p = l2
param steps: int = 3
let doubled = 2 * eps
"""


@cache
def _texts() -> tuple[bytes, ...]:
    return (
        *(b"4/255", b"1/255..8/255:1/255", b"one_of(l1, l2, linf)", b"0.5", b"-3", b"[1, 2, 3]"),
        *(b"phi1 or phi3", b"robust and not (hard or slow)", b"robust[7]", b"((a) or (not b))"),
        *(b"search", b"search(split = neuron, steps = 4)", b"portfolio(timeout = 3)", b"milp()"),
    )


def _parse(content: bytes, folder: Path) -> None:
    from specdsl.diagnostics import SpecError
    from specdsl.language.checking.combinations import check_combinations
    from specdsl.language.parsing.parser import parse
    from specdsl.run.asked_backend import asked_backend
    from specdsl.run.selection import parse_selection
    from specdsl.source import Source

    text = content.decode(errors="surrogateescape")
    program = parse(Source("fuzz.spec", SPEC))
    for name in ("eps", "p", "steps"):
        with suppress(SpecError):
            check_combinations(program, {name: text}, base=folder, working_directory=folder)
    with suppress(SpecError):
        parse_selection(text).matches("f.spec::robust[7]")
    asked_backend(text).create()


def _mutate(random: Random, content: bytes, corpus: Sequence[bytes]) -> bytes:
    # People type lines; what is longer is refused somewhere else.
    return LANGUAGE.mutate(random, content, corpus)[: random.choice((300, 300, 2_000))]


TARGETS = (Target("arguments", ".txt", _texts, _mutate, _parse, 300),)
