"""VNN-LIB 1.0 and 2.0, down to the query about small networks."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from random import Random

from tests.fuzz.mutators import forms
from tests.fuzz.mutators.texts import Language
from tests.fuzz.target import Target

_WORDS = re.compile(r'\s+|"[^"\n]*"|\|[^|\n]*\||[()\[\]]|[^\s()\[\]";|]+|.')
_OPENINGS = (
    *(("(", ")"), ("(assert ", ")"), ("(and ", ")"), ("(or ", ")"), ("(not ", ")"), ("(- ", ")")),
    *(("(+ 1.0 ", ")"), ("(* 2.0 ", ")"), ('"', '"'), ("|", "|"), ("[", "]"), ("; ", "\n")),
)
_HEADS = ("assert", *forms.HEADS)
_ONE = Language(
    _WORDS,
    (
        *(*_HEADS, "declare-const", "declare-fun", "Real", "Int", "X_0", "X_1", "X_2", "Y_0"),
        *(
            "Y_1",
            "X_999999999",
            "Y_18446744073709551616",
            "true",
            "false",
            "set-logic",
            "check-sat",
        ),
    ),
    _OPENINGS,
)
_TWO = Language(
    _WORDS,
    (
        *(*_HEADS, "vnnlib-version", "<2.0>", "declare-network", "declare-input", "declare-hidden"),
        *("declare-output", "equal-to", "isomorphic-to", "real", "float32", "int64", "X[0,0]", "Y"),
        *("A[0,1]", "W", "[]", "[1,2]", "[134217728,8]", "[0]", "[99999999999]", '"act"', "f", "g"),
    ),
    _OPENINGS,
)

ONE = (
    b"""; two inputs
(declare-const X_0 Real) (declare-const X_1 Real)
(declare-const Y_0 Real) (declare-const Y_1 Real)
(assert (<= X_0 0.6799)) (assert (>= X_0 -1e-3))
(assert (<= X_1 1)) (assert (>= X_1 0))
(assert (>= Y_0 Y_1))
""",
    b"""(declare-fun X_0 () Real)
(declare-fun X_1 () Real)
(declare-fun Y_0 () Real)
(declare-fun Y_1 () Real)
(assert (or
  (and (<= X_0 0.5) (>= X_0 0.0) (<= X_1 1.0) (>= X_1 0.0) (<= Y_0 Y_1))
  (and (<= X_0 1.0) (>= X_0 0.5) (<= X_1 1.0) (>= X_1 0.0) (not (< Y_0 0.25)))))
(assert (=> (>= X_0 0.5) (or (= Y_0 Y_1) (>= (+ (* 2.0 Y_0) (- Y_1) 3) (/ X_0 4)))))
""",
)
HEAD = b"""(vnnlib-version <2.0>)
(declare-network f
  (declare-input X real [1,2])
  (declare-hidden H real [1,3] "act")
  (declare-output Y real [1,2]))
"""
TWO = (
    HEAD + b"(assert (and (>= X[0,0] 0.0) (<= X[0,0] 1.0) (>= X[0,1] 0.0) (<= X[0,1] 1.0)))\n"
    b"(assert (or (> Y[0,0] Y[0,1]) (and (<= H[0,2] 0.5) (!= Y[0,1] -1e-2))))\n",
    HEAD + b"(declare-network g (equal-to f) (declare-input A real [1,2])\n"
    b"  (declare-output B real [1,2]))\n"
    b"(declare-network h (declare-input V real [2]) (declare-output W real []))\n"
    b"(assert (and (>= X[0,0] -1.0) (<= X[0,0] 1.0) (>= X[0,1] 0.0) (<= X[0,1] 1.0)))\n"
    b"(assert (== A[0,0] X[0,1]))\n(assert (== A[0,1] Y[0,1]))\n"
    b"(assert (== V[0] B[0,0])) (assert (>= V[1] 0.0)) (assert (<= V[1] 0.25))\n"
    b"(assert (<= (+ (* 2.0 W) (* Y[0,0] B[0,1]) (- A[0,0])) (- 3 X[0,0] 0.5)))\n",
)


def _mutate_one(random: Random, content: bytes, corpus: Sequence[bytes]) -> bytes:
    return forms.mutate(random, content, corpus, _ONE)


def _mutate_two(random: Random, content: bytes, corpus: Sequence[bytes]) -> bytes:
    return forms.mutate(random, content, corpus, _TWO)


def _read(content: bytes, _folder: Path) -> None:
    """As `specdsl-vnnlib verify` does, which is given the networks that the file asks for."""
    from specdsl.query.vnnlib import v1, v2
    from specdsl.query.vnnlib.reading import decode, version_of
    from specdsl.query.vnnlib.v2_query import bind
    from tests.query.vnnlib2_scenes import networks

    known = networks()
    source = decode(content, "fuzz.vnnlib")
    if version_of(source) == 1:
        v1.bind(v1.read_problem(source.text, source.name), known["f"])
        return
    specification = v2.read_specification(source.text, source.name)
    wanted = {n.name for n in specification.networks if n.relation != "equal-to"}
    bind(specification, {name: known[name] for name in known if name in wanted})


@cache
def _one() -> tuple[bytes, ...]:
    return ONE


@cache
def _two() -> tuple[bytes, ...]:
    return TWO


TARGETS = (
    Target("vnnlib-1", ".vnnlib", _one, _mutate_one, _read, 2_250),
    Target("vnnlib-2", ".vnnlib", _two, _mutate_two, _read, 2_000),
)
