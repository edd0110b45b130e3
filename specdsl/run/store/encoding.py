"""Answers as JSON, exact numbers as `p/q`: what is read back says the same to the last bit.

What the networks say at a witness is left out: it is computed again whenever the witness is. So is
what a certificate tells an independent checker, which has a place of its own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, get_args

import numpy as np

from specdsl.verdict import (
    Answer,
    Certificate,
    Estimate,
    Falsified,
    OpenCases,
    Semantics,
    Unknown,
    Verdict,
    Verified,
    Witness,
)

Json = dict[str, Any]
RATIONAL = re.compile(r"-?[0-9]+(/[0-9]+)?")


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
        said = json.loads(text)
        content = _Record(said if isinstance(said, dict) else {})
        statistics = _Record(content.get("statistics", dict))
        return Answer(
            _read_verdict(content),
            content.get("method", str),
            content.number("seconds"),
            {name: statistics.number(name) for name in statistics.said},
        )
    except (ValueError, ArithmeticError, RecursionError) as error:
        raise Undecodable(f"{type(error).__name__}: {error}") from error


@dataclass(frozen=True, slots=True)
class _Record:
    """An object of JSON, whose entries are of the kinds that they should be."""

    said: Mapping[str, Any]

    def get(self, name: str, *kinds: type) -> Any:
        """An entry of exactly one of these types. Raises Undecodable."""
        value = self.said.get(name)
        if type(value) not in kinds:
            raise Undecodable(f"`{name}` is of the kind {type(value).__name__}")
        return value

    def number(self, name: str) -> float:
        """Also one of those that JSON has no text for."""
        return float(self.get(name, int, float))

    def maybe(self, name: str, *kinds: type) -> Any:
        """As `get`, or None."""
        return self.get(name, *kinds, type(None))

    def list(self, name: str, kind: type) -> tuple[Any, ...]:
        """A list of one type."""
        values = self.get(name, list)
        if any(type(value) is not kind for value in values):
            raise Undecodable(f"`{name}` holds another kind than {kind.__name__}")
        return tuple(values)

    def record(self, name: str) -> _Record:
        """An object."""
        return _Record(self.get(name, dict))


def _plain(value: Any) -> Any:
    """A number of numpy as one of Python."""
    return value.item() if isinstance(value, np.generic) else value


def _verdict(verdict: Verdict) -> tuple[str, Json]:
    match verdict:
        case Verified(proof):
            margin = None if proof.margin is None else float(proof.margin)
            said: Json = {"method": proof.method, "margin": margin, "leaves": int(proof.leaves)}
            said |= {"above_rounding": proof.above_rounding, "semantics": proof.semantics}
            said["accepted"] = proof.accepted
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
                "estimate": verdict.estimate and _estimate(verdict.estimate),
            }


def _estimate(estimate: Estimate) -> Json:
    return {"confidence": str(estimate.confidence), "share": _plain(estimate.share)}


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


def _read_verdict(content: _Record) -> Verdict:
    kinds = [name for name in ("verified", "falsified", "unknown") if name in content.said]
    match kinds:
        case ["verified"]:
            return Verified(_read_certificate(content.record("verified")))
        case ["falsified"]:
            return Falsified(_read_witness(content.record("falsified")))
        case ["unknown"]:
            return _read_unknown(content.record("unknown"))
        case _:
            raise Undecodable("no verdict")


def _read_certificate(said: _Record) -> Certificate:
    margin, semantics = said.maybe("margin", float), said.get("semantics", str)
    if semantics not in get_args(Semantics):
        raise Undecodable(f"there is no semantics `{semantics}`")
    return Certificate(
        said.get("method", str),
        margin,
        said.list("trusted", str),
        said.get("leaves", int),
        said.get("above_rounding", bool),
        semantics=semantics,
        accepted=said.get("accepted", bool),
    )


def _read_unknown(said: _Record) -> Unknown:
    left = None if said.maybe("left", dict) is None else said.record("left")
    return Unknown(
        said.get("reason", str),
        said.maybe("bound", int, float),
        said.maybe("advice", str),
        said.get("timeout", bool),
        left and OpenCases(left.list("cases", int), left.number("bound")),
        said.get("crashed", bool),
        None if said.maybe("estimate", dict) is None else _read_estimate(said.record("estimate")),
    )


def _read_estimate(said: _Record) -> Estimate:
    share = said.maybe("share", int, float)
    return Estimate(_rational(said.get("confidence", str)), share)


def _read_witness(said: _Record) -> Witness:
    values = said.list("point", str)
    point = np.empty(len(values), dtype=object)
    point[:] = [_rational(value) for value in values]
    return Witness(
        point=point,
        case=said.get("case", int),
        exact_margin=_rational(said.get("exact_margin", str)),
        replayed_margin=_rational(said.get("replayed_margin", str)),
        calls=(),
        replayed_with=said.get("replayed_with", str),
        notes=said.list("notes", str),
        error=said.number("error"),
    )


def _rational(text: str) -> Fraction:
    """Without exponents, which a few letters could make endless."""
    if not RATIONAL.fullmatch(text):
        raise Undecodable("a number is no plain rational")
    return Fraction(text)
