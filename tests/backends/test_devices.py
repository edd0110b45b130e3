"""Backends on a device that is not the host: the host's answers, no tensor on the wrong one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from specdsl.backend import FOREVER
from specdsl.backends.attack import Attack
from specdsl.backends.incomplete import Incomplete
from specdsl.backends.portfolio import Portfolio
from specdsl.backends.registry import create
from specdsl.backends.search import Search
from specdsl.bounds.devices import like_on
from specdsl.diagnostics import SpecError
from specdsl.graph import ops
from specdsl.graph.graph import GraphBuilder
from specdsl.query.sets import Norm
from specdsl.verdict import Answer, Falsified, Unknown, Verified
from tests.backends.test_neuron_search import query
from tests.bounds.other_device import DEVICE, OtherDevice

Movable = Attack | Incomplete | Search | Portfolio
BACKENDS: tuple[Movable, ...] = (
    Attack(steps=8, restarts=4),
    Incomplete(),
    Search(split="input", batch=16),
    Search(split="neuron"),
    Portfolio(),
)


def require_the_same(found: Answer, expected: Answer) -> None:
    """In all that is said, but the seconds."""
    assert found.method == expected.method
    assert found.statistics == expected.statistics
    match found.verdict, expected.verdict:
        case Verified(one), Verified(other):
            assert one.margin == pytest.approx(other.margin)
            assert (one.method, one.trusted, one.leaves) == (
                other.method,
                other.trusted,
                other.leaves,
            )
        case Falsified(one), Falsified(other):
            assert one.point.tolist() == other.point.tolist()
        case Unknown() as one, Unknown() as other:
            assert (one.reason, one.timeout) == (other.reason, other.timeout)
        case _:
            pytest.fail(f"{found.verdict} is not {expected.verdict}")


@pytest.mark.parametrize("backend", BACKENDS, ids=str)
@pytest.mark.parametrize("seed", [0, 1, 3])
@pytest.mark.parametrize("ball", [None, "l2"])
def test_answers_elsewhere_are_those_of_the_host(
    backend: Movable, seed: int, ball: Norm | None
) -> None:
    asked = query(seed, ops.Relu(), ball)
    with OtherDevice():
        found = replace(backend, device=DEVICE).answer(asked, FOREVER)
    require_the_same(found, backend.answer(asked, FOREVER))


@pytest.mark.parametrize("op", [ops.Sigmoid(), ops.Positive(), ops.Round()], ids=str)
@pytest.mark.parametrize("backend", [Attack(steps=4, restarts=3), Search(split="input", batch=16)])
def test_so_are_they_of_curves_and_jumps(backend: Movable, op: ops.Op) -> None:
    asked = query(2, op)
    with OtherDevice():
        found = replace(backend, device=DEVICE).answer(asked, FOREVER)
    require_the_same(found, backend.answer(asked, FOREVER))


@pytest.mark.slow
def test_so_are_they_of_a_search_down_to_its_leaves() -> None:
    backend, asked = Search(split="neuron"), query(8, ops.Relu())
    with OtherDevice():
        found = replace(backend, device=DEVICE).answer(asked, FOREVER)
    require_the_same(found, backend.answer(asked, FOREVER))
    assert found.statistics["leaves"] > 100


def test_only_large_graphs_are_worth_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: bool(asked.append("asked")))
    small = query(0, ops.Relu()).graph
    assert like_on("auto", small).device.type == "cpu"
    assert not asked
    builder = GraphBuilder()
    wide = ops.Dense(np.zeros((1024, 1024)), np.zeros(1024))
    large = builder.build(builder.add(wide, builder.add(ops.Input((1024,)))))
    assert like_on("auto", large).device.type == "cpu"
    assert asked


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there_is_told_beforehand() -> None:
    with pytest.raises(SpecError, match="no CUDA device") as refused:
        create("portfolio", {}, device="cuda")
    assert refused.value.diagnostics[0].code == "E0853"
    # What computes without torch has no device to miss.
    assert create("smt", {}, device="cuda").name == "smt"
