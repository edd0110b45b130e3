"""The methods that are asked, as after `--using`."""

from __future__ import annotations

from tests.soundness.judging import CERTIFIED
from tests.soundness.questions import Question

METHODS = (
    "incomplete",
    "lp",
    "milp",
    "search(split = input)",
    "search(split = neuron)",
    "portfolio",
    *CERTIFIED,
)
"""All that can prove something, but those of SMALL."""

SMALL = ("smt", "sdp")
"""For small questions only."""

VARIANTS = (
    "incomplete(method = interval)",
    "incomplete(method = crown)",
    "milp(bounds = alpha_crown)",
    "milp(bounds = milp)",
    "portfolio(attack = false)",
    "portfolio(milp = false, sharpen = false)",
    "search(split = input, clip = false)",
    "search(split = input, learn = false, points = false)",
    "search(split = input, reduce = false)",
    "search(split = neuron, programs = false)",
    "search(split = neuron, rule = gap)",
    "search(split = neuron, rule = width)",
    "search(split = neuron, sharpen = false)",
    "search(split = neuron, steps = 0)",
    "search(split = neuron, tighten = false)",
)
"""With techniques left out or others chosen: one of them for each question, in turns."""

PROGRAMS = ("lp(bounds = all)", "lp(bounds = last)", "lp(bounds = greedy)")
"""Linear programs whose neurons are bounded otherwise: one of them for each question, in turns."""

MODELS = (
    "lp(multi_neuron = 2)",
    "lp(bounds = all, multi_neuron = 3)",
    "milp(multi_neuron = 3)",
    "milp(cases = together)",
)
"""Other rows for the same models, or one model for all cases: one of them each, in turns."""


def some(number: int, count: int = 2) -> tuple[str, ...]:
    """Some of METHODS, others for every number: what the fast tests have time for."""
    return tuple(METHODS[(number + 2 * i) % len(METHODS)] for i in range(count))


def variant(number: int) -> str:
    """One of VARIANTS."""
    return VARIANTS[number % len(VARIANTS)]


def program(number: int) -> str:
    """One of PROGRAMS."""
    return PROGRAMS[number % len(PROGRAMS)]


def model(number: int) -> str:
    """One of MODELS."""
    return MODELS[number % len(MODELS)]


# Z3 decides so many units within a second or two, on few inputs.
SMALL_INPUTS, SMALL_PARAMETERS = 8, 400


def methods_for(question: Question, number: int) -> tuple[str, ...]:
    """What is asked about the question of that number."""
    few = question.lower.size <= SMALL_INPUTS
    small = few and question.network.parameters <= SMALL_PARAMETERS
    return (*METHODS, *(SMALL if small else ()), variant(number), program(number), model(number))
