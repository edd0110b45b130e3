"""`--using` takes what `using` of a spec takes."""

from __future__ import annotations

import pytest

from specdsl.backends.attack import Attack
from specdsl.backends.milp import Milp
from specdsl.backends.search import Search
from specdsl.diagnostics import SpecError
from specdsl.run.asked_backend import asked_backend


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("search", Search()),
        ("search()", Search()),
        ("search(split = neuron, sharpen = false)", Search(split="neuron", sharpen=False)),
        ("attack(steps = 2 * 10, restarts = 3)", Attack(steps=20, restarts=3)),
        ("milp(bounds = alpha_crown)", Milp(bounds="alpha_crown")),
    ],
)
def test_a_backend_is_made_as_in_a_spec(text: str, wanted: object) -> None:
    assert asked_backend(text).create() == wanted


def test_a_timeout_is_told() -> None:
    assert asked_backend("search(timeout = 5/2)").timeout == 2.5
    assert asked_backend("search").timeout is None


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("serch", "E0852", "no backend `serch`"),
        ("serch(split = neuron)", "E0801", "no backend is called `serch`"),
        ("search(splitt = neuron)", "E0802", "`search` has no option `splitt`"),
        ("search(split = neurons)", "E0804", "neuron"),
        ("search(sharpen = 1)", "E0804", "`true` or `false`"),
        ("search(split = neuron", "E0105", "`)`"),
    ],
)
def test_what_is_wrong_is_told(text: str, code: str, said: str) -> None:
    with pytest.raises(SpecError) as told:
        asked_backend(text)
    assert told.value.diagnostics[0].code == code
    assert said in str(told.value)
