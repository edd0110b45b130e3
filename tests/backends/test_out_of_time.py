"""A deadline may pass anywhere: what is answered then is Unknown, for lack of time."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
import torch

from specdsl.backend import Backend, Deadline, OutOfTime
from specdsl.backends.incomplete.backend import Incomplete
from specdsl.backends.search.backend import Search
from specdsl.bounds.compiled import compile_graph
from specdsl.bounds.passes.crown import propagate
from specdsl.bounds.regions.region import input_region
from specdsl.query.query import Atom
from specdsl.verdict import Unknown, Verified
from tests.bounds.random_graphs import random_graph, random_set
from tests.strategies import margin_query


@dataclass(frozen=True)
class Looked(Deadline):
    """Passes when it has been looked at so many times."""

    times: int = 0
    looks: list[None] = field(default_factory=list)

    @property
    def remaining(self) -> float:
        self.looks.append(None)
        return 0.0 if len(self.looks) > self.times else 1.0


def looked(times: int) -> Looked:
    return Looked(end=None, seconds=1.0, times=times)


def test_bounds_that_take_too_long_are_given_up_and_intervals_never_do() -> None:
    compiled = compile_graph(random_graph(3))
    region = input_region(random_set(3), torch.empty(0, dtype=torch.float64))
    with pytest.raises(OutOfTime):
        propagate(compiled, region, deadline=looked(0))
    propagate(compiled, region, deadline=looked(0), tighten=False)


@pytest.mark.parametrize("backend", [Incomplete(), Search()])
def test_backends_say_that_the_time_was_not_enough(backend: Backend) -> None:
    graph = random_graph(3)
    weight = np.eye(4, dtype=np.float32)[:1]
    query = margin_query(graph, random_set(3), weight, np.array([100.0], np.float32), ((Atom(0),),))
    ends = []
    for times in range(200):
        verdict = backend.answer(query, looked(times)).verdict
        ends.append(type(verdict))
        if isinstance(verdict, Verified):
            break
        assert isinstance(verdict, Unknown)
        assert verdict.timeout
        assert "timeout after 1 s" in verdict.reason
    assert ends[-1] is Verified
    assert len(ends) > 2
