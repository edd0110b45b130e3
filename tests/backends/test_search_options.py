"""Techniques of the search cost or save time: no answer may depend on them."""

from __future__ import annotations

from dataclasses import fields
from fractions import Fraction

import numpy as np
import pytest

from specdsl.backend import FOREVER, Deadline
from specdsl.backends.attack import Attack
from specdsl.backends.milp import Milp
from specdsl.backends.portfolio import Portfolio
from specdsl.backends.prepared import Prepared
from specdsl.backends.registry import create
from specdsl.backends.search import Search
from specdsl.backends.search.options import SearchOptions
from specdsl.evidence import settle
from specdsl.graph import ops
from specdsl.graph.evaluate import evaluate
from specdsl.graph.graph import GraphBuilder
from specdsl.language.schemas import BACKENDS
from specdsl.query.query import Atom, Case, Query, Variable
from specdsl.query.sets import Box, exact
from specdsl.verdict import Unknown
from tests.backends.test_neuron_search import INPUTS, network, query

OFF: tuple[dict[str, object], ...] = (
    *({item.name: False} for item in fields(SearchOptions) if item.default is True),
    {"steps": 0},
    {"batch": 1},
)


def named(given: dict[str, object]) -> str:
    """How a test is called."""
    return ", ".join(f"{key} = {value}" for key, value in given.items())


def narrow(seed: int, distance: float) -> Query:
    """One margin, above or below 0 by about the distance where it is least."""
    random = np.random.default_rng(seed)
    # Most entries at their ends, where a piecewise linear function is least.
    points = (3 * random.uniform(-1, 1, (50_000, INPUTS))).clip(-1, 1)
    free = network(seed, ops.Relu(), outputs=1)
    least = float(evaluate(free, {free.input: points})[free.output].min())
    builder = GraphBuilder()
    copied = builder.splice(free, {free.input: builder.add(ops.Input((INPUTS,)))})
    shift = ops.Dense(np.ones((1, 1)), np.array([distance - least]))
    box = Box(exact([Fraction(-1)] * INPUTS), exact([Fraction(1)] * INPUTS))
    variables = (Variable.at("x", 0, (INPUTS,)),)
    graph = builder.build(builder.add(shift, copied[free.output]))
    return Query("narrow", graph, (Case(box, (Atom(0),)),), variables, ())


@pytest.mark.parametrize("given", OFF, ids=named)
@pytest.mark.parametrize("split", ["input", "neuron"])
def test_answers_are_those_of_exact_milp_without_any_technique(
    given: dict[str, object], split: str
) -> None:
    # Without points nothing is ever a witness.
    seeds = (0, 2) if given == {"points": False} else (0, 1, 2)
    kinds: set[type] = set()
    for seed in seeds:
        asked = narrow(seed, (-1) ** seed * 0.2)
        wanted = Milp().answer(asked, FOREVER).verdict
        backend = create("search", {"split": split, **given})
        found = settle(asked, backend.answer(asked, Deadline.after(60))).verdict
        if given == {"programs": False} and isinstance(found, Unknown):
            assert "nothing inside is left" in found.reason
        else:
            assert type(found) is type(wanted)
        kinds.add(type(found))
    assert len(kinds) > len(seeds) - 2


def test_a_portfolio_asks_its_search_for_the_same() -> None:
    given = Portfolio(split="neuron", clip=False, steps=3, seed=5, device="cpu")
    searches = [s for s, _ in given._stages(Prepared(query(0, ops.Relu()))) if s.name == "search"]  # pyright: ignore[reportPrivateUsage]
    assert searches == [Search(split="neuron", clip=False, steps=3, seed=5, device="cpu")]


def test_stages_can_be_left_out() -> None:
    for seed in range(6):
        asked = query(seed, ops.Relu())
        answer = Portfolio(attack=False, milp=False).answer(asked, Deadline.after(60))
        wanted = Milp().answer(asked, FOREVER).verdict
        assert type(answer.verdict) is type(wanted)
        assert not answer.method.startswith((Attack.name, Milp.name))


@pytest.mark.parametrize("name", ["search", "portfolio"])
def test_the_language_has_every_option_with_its_default(name: str) -> None:
    kind = {"search": Search, "portfolio": Portfolio}[name]
    own = {item.name: item.default for item in fields(kind)}
    assert own.pop("device") == "cpu"
    # For proofs that leave room for rounding; a verdict has no use for it.
    assert own.pop("above", 0.0) == 0.0
    assert own.keys() == {option.name for option in BACKENDS.schemas[name].options}
    for option in BACKENDS.schemas[name].options:
        default = {"true": True, "false": False}.get(str(option.default), option.default)
        assert default == own[option.name]
        assert isinstance(own[option.name], bool) == (option.kind == "bool")


def test_a_spec_can_leave_a_technique_out() -> None:
    asked = {"sharpen": False, "steps": Fraction(4)}
    assert create("portfolio", asked) == Portfolio(sharpen=False, steps=4)
