"""Answers as JSON, exact numbers as `p/q`: what is read back says the same to the last bit.

What the networks say at a witness is left out: it is computed again whenever the witness is. So is
what a certificate tells an independent checker, which has a place of its own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import numpy as np

from specdsl.query.sets import ExactArray
from specdsl.verdict import (
    Answer,
    Certificate,
    Falsified,
    OpenCases,
    Unknown,
    Verdict,
    Verified,
    Witness,
)

Json = dict[str, Any]


class Undecodable(ValueError):
    """A text that is no answer."""


def encode(answer: Answer) -> str:
    """The answer as text."""
    kind, said = _verdict(answer.verdict)
    content = {
        "method": answer.method,
        "seconds": answer.seconds,
        "statistics": {name: _plain(value) for name, value in answer.statistics.items()},
        kind: said,
    }
    return json.dumps(content)


def decode(text: str) -> Answer:
    """The answer that `encode` made a text of. Raises Undecodable for any other text."""
    try:
        content: Json = json.loads(text)
        return Answer(
            _read_verdict(content),
            str(content["method"]),
            float(content["seconds"]),
            dict(content["statistics"]),
        )
    except (ValueError, TypeError, KeyError, AttributeError, ArithmeticError) as error:
        raise Undecodable(f"{type(error).__name__}: {error}") from error


def _plain(value: Any) -> Any:
    """A number of numpy as one of Python."""
    return value.item() if isinstance(value, np.generic) else value


def _verdict(verdict: Verdict) -> tuple[str, Json]:
    match verdict:
        case Verified(proof):
            margin = None if proof.margin is None else float(proof.margin)
            said: Json = {"method": proof.method, "margin": margin, "leaves": int(proof.leaves)}
            said["above_rounding"] = proof.above_rounding
            return "verified", {**said, "trusted": list(proof.trusted)}
        case Falsified(witness):
            return "falsified", _witness(witness)
        case Unknown():
            left = verdict.left
            return "unknown", {
                "reason": verdict.reason,
                "bound": _plain(verdict.bound),
                "advice": verdict.advice,
                "timeout": verdict.timeout,
                "left": left and {"cases": list(left.cases), "bound": float(left.closed_bound)},
                "crashed": verdict.crashed,
            }


def _witness(witness: Witness) -> Json:
    return {
        "point": [str(value) for value in witness.point.tolist()],
        "case": witness.case,
        "exact_margin": str(witness.exact_margin),
        "replayed_margin": str(witness.replayed_margin),
        "replayed_with": witness.replayed_with,
        "notes": list(witness.notes),
        "error": float(witness.error),
    }


def _read_verdict(content: Mapping[str, Any]) -> Verdict:
    match content:
        case {"verified": proof}:
            return Verified(
                Certificate(
                    proof["method"],
                    proof["margin"],
                    tuple(proof["trusted"]),
                    proof["leaves"],
                    proof["above_rounding"],
                )
            )
        case {"falsified": witness}:
            return Falsified(_read_witness(witness))
        case {"unknown": {"left": left, **said}}:
            open_ = left and OpenCases(tuple(left["cases"]), left["bound"])
            return Unknown(**said, left=open_)
        case _:
            raise Undecodable("no verdict")


def _read_witness(said: Json) -> Witness:
    exact = {name: Fraction(said[name]) for name in ("exact_margin", "replayed_margin")}
    return Witness(
        point=_exact(said["point"]),
        case=said["case"],
        calls=(),
        replayed_with=said["replayed_with"],
        notes=tuple(said["notes"]),
        error=said["error"],
        **exact,
    )


def _exact(values: list[str]) -> ExactArray:
    found = np.empty(len(values), dtype=object)
    found[:] = [Fraction(value) for value in values]
    return found
