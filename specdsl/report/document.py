"""The report as JSON: the fixed names that scripts and CI rely on (`schema.json` beside this file).

No NaN and no infinity ever appears: a number that is none is null.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from fractions import Fraction
from importlib.resources import files
from math import isfinite
from typing import Any

import numpy as np

from specdsl.diagnostics import Diagnostic
from specdsl.report.queries import document as query_document
from specdsl.run.outcomes import ShownWitness
from specdsl.run.query_result import QueryOutcome
from specdsl.run.result import CheckOutcome, Report, Result
from specdsl.version import __version__

SCHEMA_VERSION = 1

Json = dict[str, Any]


def schema() -> Json:
    """The JSON schema of `document`."""
    return json.loads(files("specdsl.report").joinpath("schema.json").read_text("utf-8"))


def to_json(reports: Sequence[Report]) -> str:
    """One object for one spec file, an array of them for several."""
    documents = [document(report) for report in reports]
    content = documents[0] if len(documents) == 1 else documents
    return json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False)


def document(report: Report) -> Json:
    """The report of one spec file."""
    asked = (*report.checks, *report.queries)
    return {
        "schema": SCHEMA_VERSION,
        "specdsl": __version__,
        "spec": str(report.path),
        "parameters": {name: plain(value) for name, value in report.parameters.items()},
        "summary": _summary(report),
        "exit_code": report.exit_code,
        "interrupted": report.interrupted,
        "diagnostics": [_diagnostic(d) for d in report.diagnostics],
        "results": [_result(r, check) for check in report.checks for r in check.results],
        "checks": [_check(check) for check in report.checks],
        "aggregates": _aggregates(asked),
        "expectations": _expectations(asked),
        "queries": [
            query_document(r, _witness(r.argument) if r.argument else None)
            for query in report.queries
            for r in query.results
        ],
    }


def plain(value: object) -> Any:
    """A constant of the language as JSON: exact numbers as the nearest float64."""
    match value:
        case Fraction():
            return int(value) if value.denominator == 1 else _number(value)
        case np.ndarray():
            return [plain(v) for v in value.tolist()]
        case tuple() | list():
            return [plain(v) for v in value]
        case float():
            return _number(value)
        case bool() | int() | str() | None:
            return value
        case _:
            return str(value)


def _number(value: float | Fraction | None) -> float | None:
    if value is None:
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if isfinite(number) else None


def _parameters(check: CheckOutcome | QueryOutcome) -> Json:
    """The values of swept parameters."""
    return {name: plain(value) for name, value in check.parameters.items()}


def _summary(report: Report) -> Json:
    return {
        **report.counts,
        "errors": sum(bool(r.diagnostics) for r in report.results),
        "deselected": report.deselected,
        "skipped": report.skipped,
        "seconds": _number(report.seconds),
    }


def _check(check: CheckOutcome) -> Json:
    return {
        "name": check.name,
        "parameters": _parameters(check),
        "verdict": check.verdict,
        "obligations": len(check.results),
    }


def _expectations(asked: Sequence[CheckOutcome | QueryOutcome]) -> list[Json]:
    return [
        {
            "check": each.name,
            "parameters": _parameters(each),
            "text": expect.text,
            "met": expect.met,
            "reason": expect.reason,
        }
        for each in asked
        for expect in each.expects
    ]


def _result(result: Result, check: CheckOutcome) -> Json:
    span, estimate = result.span, result.estimate
    place = {"file": span.source.name, "line": span.line, "column": span.column} if span else None
    return {
        "id": result.id,
        "property": result.property_name,
        "parameters": _parameters(check),
        "span": place,
        "verdict": result.verdict,
        "reason": result.reason,
        "advice": result.advice,
        "method": result.method,
        "semantics": result.semantics,
        "bound": _number(result.bound),
        "trusted": list(result.trusted),
        "confidence": _number(estimate and estimate.confidence),
        "violating_share": estimate and estimate.share,
        "seconds": _number(result.seconds),
        "cached": result.cached,
        "certificate": result.certificate_file and str(result.certificate_file),
        "witness": _witness(result.witness) if result.witness else None,
        "statistics": {name: _number(value) for name, value in result.statistics.items()},
        "diagnostics": [_diagnostic(d) for d in (*result.diagnostics, *result.warnings)],
    }


def _witness(witness: ShownWitness) -> Json:
    calls = [
        {
            "network": call.network,
            "call": call.text or call.network,
            "inputs": [_number(v) for v in call.inputs.tolist()],
            "outputs": [_number(v) for v in call.outputs.tolist()],
            "labels": list(call.labels),
        }
        for call in witness.calls
    ]
    return {
        "inputs": {
            v.name: _shaped(v.values, v.shape) if v.shape else _number(v.values[0])
            for v in witness.variables
        },
        "units": {v.name: v.unit for v in witness.variables if v.unit},
        "network_inputs": [value for call in calls for value in call["inputs"]],
        "outputs": [value for call in calls for value in call["outputs"]],
        "calls": calls,
        "margin": _number(witness.replayed_margin),
        "exact_margin": _number(witness.exact_margin),
        "replayed_with": witness.replayed_with,
        "notes": list(witness.notes),
    }


def _shaped(values: Sequence[Fraction], shape: tuple[int, ...]) -> list[Any]:
    flat = np.array([_number(v) for v in values], dtype=object)
    return flat.reshape(shape).tolist()


def _aggregates(asked: Sequence[CheckOutcome | QueryOutcome]) -> Mapping[str, float | None]:
    """Figures by name; with the name of the check before them where two checks have the same."""
    names = [name for each in asked for name in each.figures]
    found: dict[str, float | None] = {}
    for each in asked:
        for name, value in each.figures.items():
            unique = names.count(name) == 1
            found[name if unique else f"{each.name}.{name}"] = _number(value)
    return found


def _diagnostic(item: Diagnostic) -> Json:
    span = item.primary.span if item.primary else None
    return {
        "code": item.code,
        "severity": item.severity,
        "message": item.message,
        "file": span.source.name if span else None,
        "line": span.line if span else None,
        "column": span.column if span else None,
        "help": item.help,
    }
