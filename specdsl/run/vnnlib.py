"""Deciding VNN-LIB files for front ends that call any solver: a word, then an assignment.

Beside `run/instances` and `query/vnnlib` the only place where `sat` and `unsat` are words.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from specdsl.backend import Backend, Unsupported
from specdsl.diagnostics import SpecError
from specdsl.files import read_bytes
from specdsl.graph.onnx_import.load import ImportedNetwork, load_onnx
from specdsl.graph.onnx_import.read import OLDEST_OPSET, newest_opset
from specdsl.graph.onnx_import.rules import RULES
from specdsl.graph.runtime import Runtime
from specdsl.graph.to_onnx import tensor_bytes
from specdsl.query.query import Query
from specdsl.query.vnnlib import v1, v2
from specdsl.query.vnnlib.reading import decode, version_of
from specdsl.query.vnnlib.v2_query import BoundQuery, bind
from specdsl.query.vnnlib.v2_tree import Declaration, Expression, Network, Number, Reference
from specdsl.run.answering import answer_query
from specdsl.run.instances.witness import decimal
from specdsl.verdict import Falsified, Unknown, Verified, Witness

Word = Literal["sat", "unsat", "unknown", "timed-out"]


@dataclass(frozen=True, slots=True, eq=False)
class Assigned:
    """One declared variable with its values, exact and row-major. `element` as declared."""

    name: str
    element: str
    shape: tuple[int, ...]
    values: tuple[Fraction, ...]

    def lines(self) -> Iterator[str]:
        """`NAME TYPE [dims]`, then one value a line."""
        yield f"{self.name} {self.element} [{','.join(map(str, self.shape))}]"
        yield from map(decimal, self.values)

    def tensor(self) -> bytes:
        """The values as a serialised ONNX TensorProto of float32, named like the variable."""
        array = np.array([float(v) for v in self.values], dtype=np.float32).reshape(self.shape)
        return tensor_bytes(array, self.name)


@dataclass(frozen=True, slots=True, eq=False)
class Decided:
    """The answer to a file. `assignment` after `sat`, in the order of declaration; `reason`: why
    it is not decided.
    """

    word: Word
    assignment: tuple[Assigned, ...] = ()
    reason: str | None = None


def verify(
    path: Path, networks: Mapping[str, Path], backend: Backend, timeout: float | None
) -> Decided:
    """Decide a file of version 1.0 or 2.0; the time for reading counts.

    A file of version 1.0 speaks about one network, whatever it is called. Raises SpecError for
    files that cannot be read or do not fit, and E0855 where the backend has no rule.
    """
    start = time.monotonic()
    source = decode(read_bytes(path), str(path))
    question: _Question
    if version_of(source) == 1:
        question = _First(v1.read_problem(source.text, source.name), _only(networks, path))
    else:
        specification = v2.read_specification(source.text, source.name)
        question = _Second(bind(specification, {n: _load(p, n) for n, p in networks.items()}))
    left = None if timeout is None else timeout - (time.monotonic() - start)
    if left is not None and left <= 0:
        return Decided("timed-out", reason="all of the time was spent on reading")
    try:
        answer = answer_query(question.query, backend, left)
    except Unsupported as error:
        message = f"`{error.method}` does not support {error.what}"
        raise SpecError.of("E0855", message, error.place, help=error.advice) from error
    match answer.verdict:
        case Verified():
            return Decided("unsat")
        case Falsified(witness):
            return Decided("sat", tuple(question.assignment(witness)))
        case Unknown(reason, timeout=timed_out):
            return Decided("timed-out" if timed_out else "unknown", reason=reason)


def _load(path: Path, name: str) -> ImportedNetwork:
    return load_onnx(read_bytes(path), name)


def _only(networks: Mapping[str, Path], path: Path) -> ImportedNetwork:
    if len(networks) != 1:
        text = f"`{path}` is VNN-LIB 1.0 and speaks about one network, {len(networks)} are given"
        raise SpecError.of("E1012", text, help="add `--network f=FILE.onnx` once")
    ((name, file),) = networks.items()
    return _load(file, name)


# --- assignments --------------------------------------------------------------------------------


class _First:
    """A query of version 1.0: every entry is a scalar of its own."""

    def __init__(self, problem: v1.Problem, network: ImportedNetwork) -> None:
        self.query: Query = v1.bind(problem, network)

    def assignment(self, witness: Witness) -> Iterator[Assigned]:
        """`X_0`, `X_1`, ..., then `Y_0`, `Y_1`, ..."""
        for i, value in enumerate(witness.point.tolist()):
            yield Assigned(f"X_{i}", "real", (), (value,))
        for i, value in enumerate(witness.calls[0].outputs.tolist()):
            yield Assigned(f"Y_{i}", "real", (), (Fraction(value),))


class _Second:
    """A query of version 2.0. Every network is run once more: the query may not need them all."""

    def __init__(self, bound: BoundQuery) -> None:
        self.query: Query = bound.query
        self.bound = bound
        self.values: dict[str, npt.NDArray[np.object_]] = {}

    def assignment(self, witness: Witness) -> Iterator[Assigned]:
        """All declared variables: the witness, what follows from it, what the networks say."""
        bound, networks = self.bound, self.bound.specification.networks
        for name, places in bound.places.items():
            self.values[name] = np.full(places.size, Fraction(0), dtype=object)
            self.values[name][places >= 0] = witness.point[places[places >= 0]]
        by_name = {network.name: network for network in networks}
        for step in bound.ties.order():
            if isinstance(step, str):
                self._run(by_name[step])
            else:
                self.values[step[0]][step[1]] = self._number(bound.ties.definitions[step])
        for variable in bound.specification.declarations:
            values = tuple(self.values[variable.name].tolist())
            yield Assigned(variable.name, variable.element, variable.shape, values)

    def _run(self, network: Network) -> None:
        imported = self.bound.networks[network.model]
        hidden = network.of("hidden")
        runtime = Runtime(imported.model, network.name, [v.value or "" for v in hidden])
        points = [
            self._floats(variable, imported.graph.shapes[node])
            for variable, node in zip(network.of("input"), imported.inputs, strict=True)
        ]
        said = runtime.run_many(points)
        for variable, value in zip((*network.of("output"), *hidden), said, strict=True):
            numbers = [Fraction(v) for v in value.reshape(-1).tolist()]
            self.values[variable.name] = np.array(numbers, dtype=object)

    def _floats(self, variable: Declaration, shape: Sequence[int]) -> npt.NDArray[np.float32]:
        values = [float(v) for v in self.values[variable.name]]
        return np.array(values, dtype=np.float32).reshape(shape)

    def _number(self, expression: Expression) -> Fraction:
        if isinstance(expression, Number):
            return expression.value
        if isinstance(expression, Reference):
            return self.values[expression.variable][expression.position]
        first, *rest = (self._number(operand) for operand in expression.operands)
        if expression.operator == "-" and not rest:
            return -first
        for value in rest:
            if expression.operator == "*":
                first *= value
            else:
                first += value if expression.operator == "+" else -value
        return first


_Question = _First | _Second


# --- what is supported --------------------------------------------------------------------------


def supported(capability: str) -> tuple[str, ...]:
    """The lines that answer `supports --CAPABILITY`. Raises KeyError for an unknown one."""
    if capability == "onnx-opset-versions":
        return (str(OLDEST_OPSET), str(newest_opset()))
    if capability == "onnx-operators":
        return tuple(sorted(RULES))
    return FIXED[capability]


FIXED: Mapping[str, tuple[str, ...]] = {
    "onnx-element-types": ("float32",),
    "vnnlib-versions": ("1.0", "2.0"),
    "hidden-node-theories": ("NH", "H"),
    "multiple-input-output-theories": ("SIO", "MIO"),
    "multiple-network-theories": ("SNET", "MENET", "MINET", "MNET"),
    "multiple-node-comparison-theories": ("SNC", "MNC"),
    "arithmetic-complexity-theories": ("BND", "OUTC", "LIN", "POLY"),
    "optimised-disjunctive-reasoning": ("true",),
    "serialise-assignments": ("true",),
}
"""Capabilities that do not come from the ONNX import."""
