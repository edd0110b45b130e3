"""Properties of small networks, as claims of a batch and as queries of one sample."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from specdsl.data import Dataset
from specdsl.graph.exact import evaluate_exact
from specdsl.language.checking.check import check
from specdsl.language.parsing.parser import parse
from specdsl.language.spec import Spec
from specdsl.query.elaboration.elaborate import elaborate
from specdsl.query.elaboration.values.resources import Resources
from specdsl.query.query import Query
from specdsl.query.sets import ExactArray
from specdsl.source import Source
from specdsl.training.claims.compile import Trained, compile_claim
from specdsl.training.claims.source import CONSTRUCTORS, source
from specdsl.training.claims.template import ClaimTemplate
from specdsl.training.runtime.claims import claim as usual
from specdsl.training.runtime.claims import parts as further
from specdsl.training.runtime.claims.claim import Claim
from specdsl.training.runtime.networks.network import Trainable

INPUTS, HIDDEN, CLASSES = 4, 5, 3
HEAD = """spec 1.0
enum Side {{ left, middle, right }}
space Point {{
  a: real in [-1, 2] normalize (mean = 1/2, range = 4)
  b: real[2] in [-2, 1]
  n: int in [0, 4] normalize (mean = 1, range = 2)
}}
space Free {{ u: real  w: real in [0, 1] }}
network net: Point -> real[Side] {{
  layer dense(weight = {first}, bias = {first_bias})
  layer relu
  layer dense(weight = {second}, bias = {second_bias})
}}
network other: Point -> real[Side] {{ layer dense(weight = {other}, bias = [0, 0, 0]) }}
dataset d: (Point, Side) = npz("d.npz", inputs = "x", labels = "y")
let twice(v) = 2 * v
region near(x, r) = norm_ball(x, r, linf, only = [a, b]) & Point
property close(u, w, r) = all(|u - w| <= r)
"""


@dataclass(frozen=True, eq=False)
class Network:
    """A random network: its spec text, and itself."""

    head: str
    module: nn.Sequential


def network(generator: random.Random) -> Network:
    """With weights in quarters: everything is exact in float32."""

    def matrix(rows: int, columns: int) -> list[list[Fraction]]:
        return [
            [Fraction(generator.randint(-8, 8), 4) for _ in range(columns)] for _ in range(rows)
        ]

    first, second = matrix(HIDDEN, INPUTS), matrix(CLASSES, HIDDEN)
    (first_bias,), (second_bias,) = matrix(1, HIDDEN), matrix(1, CLASSES)
    layers = nn.Linear(INPUTS, HIDDEN), nn.Linear(HIDDEN, CLASSES)
    given = zip(layers, (first, second), (first_bias, second_bias), strict=True)
    with torch.no_grad():
        for layer, weight, bias in given:
            layer.weight.copy_(floats(weight))
            layer.bias.copy_(floats(bias))
    head = HEAD.format(
        first=written(first),
        first_bias=written(first_bias),
        second=written(second),
        second_bias=written(second_bias),
        other=written(matrix(CLASSES, INPUTS)),
    )
    return Network(head, nn.Sequential(layers[0], nn.ReLU(), layers[1]))


def floats(values: object) -> Tensor:
    return torch.tensor(np.array(values, dtype=np.float64), dtype=torch.float32)


def written(values: object) -> str:
    """A constant of the language."""
    if isinstance(values, list):
        return "[" + ", ".join(map(written, values)) + "]"
    return f"{values}"


def load(text: str) -> Spec:
    return check(parse(Source("t.spec", text)), {}, base=Path(), working_directory=Path())


def compiled(
    spec: Spec,
    given: Sequence[str] = ("r",),
    name: str = "p",
    net: str = "net",
    data: str = "d",
) -> ClaimTemplate:
    return compile_claim(spec, name, given, Trained(net, spec.datasets[data].element))


@cache
def trainable(seed: int) -> tuple[str, Trainable]:
    """A network of `network`: the beginning of its spec, and itself."""
    made = network(random.Random(seed))
    return made.head, Trainable.of(made.module, (INPUTS,))


def run(text: str, name: str = "p") -> object:
    """The function that a text defines, with what scripts import."""
    names = {c: _found(c) for c in CONSTRUCTORS}
    scope: dict[str, object] = {"Tensor": Tensor, "torch": torch, "F": F, **names}
    exec(text, scope)
    return scope[name]


def _found(name: str) -> object:
    places: tuple[ModuleType, ...] = (usual, further)
    return next(getattr(place, name) for place in places if hasattr(place, name))


def claim_of(template: ClaimTemplate, x: Tensor, y: Tensor, r: float) -> Claim:
    function = run(source(template), template.name)
    taken = {"x": x, "y": y, "r": r, "like": x}
    wanted = [p.name for p in template.parameters]
    arguments = {name: taken[name] for name in wanted}
    if not any(p.kind == "input" for p in template.parameters):
        arguments["like"] = x
    found = function(**arguments)  # type: ignore[operator]
    assert isinstance(found, Claim)
    return found


# --- the same as queries --------------------------------------------------------------------------


def queries(spec: Spec, x: Tensor, y: Tensor) -> list[Query]:
    """What each check of a spec decides of each sample."""
    resources = Resources(datasets={"d": Dataset(x.double().numpy(), y.numpy())})
    return [obligation.query(resources) for obligation in elaborate(spec, resources)]


def violated(query: Query, point: ExactArray) -> bool:
    """Whether the query asks for this very point."""
    graph = query.graph
    values = evaluate_exact(graph, {graph.input: point.reshape(graph.shapes[graph.input])})
    margins = values[graph.output].reshape(-1)
    return any(
        point in case.inputs
        and all(margins[a.index] < 0 if a.strict else margins[a.index] <= 0 for a in case.atoms)
        for case in query.cases
    )
