"""The same network as layers, as a graph, as an ONNX file and for Z3 says the same."""

from __future__ import annotations

import numpy as np
import pytest

from specdsl.graph.evaluate import evaluate as evaluate_graph
from specdsl.graph.exact import evaluate_exact
from specdsl.graph.onnx_import.load import load_onnx
from specdsl.graph.runtime import Runtime
from tests.soundness.as_graph import as_graph
from tests.soundness.as_z3 import decide
from tests.soundness.laws import LAWS, base_question
from tests.soundness.networks import (
    RELU,
    Conv,
    Dense,
    Flatten,
    Network,
    as_exact,
    evaluate,
)
from tests.soundness.questions import Atom, Question
from tests.soundness.tiny import tiny_question
from tests.soundness.trapdoors.catalogue import FAMILIES

# Relative to the largest output: float32, some layers deep.
FLOAT32 = 1e-5
TINY = range(60)


def points(question: Question, count: int = 4) -> np.ndarray:
    random = np.random.default_rng(0)
    return random.uniform(question.lower, question.upper, (count, question.lower.size))


@pytest.mark.parametrize("family", FAMILIES)
def test_layers_graphs_and_files_agree(family: str) -> None:
    for number in range(3):
        question = FAMILIES[family].trapdoor(number).question
        graph, runtime = as_graph(question.network), Runtime(question.model(), family)
        for point in points(question):
            single = point.astype(np.float32).astype(np.float64)
            said = evaluate(question.network, single)
            shaped = single.reshape(1, *question.network.shape)
            by_graph = evaluate_graph(graph, {graph.input: shaped}, [graph.output])[graph.output]
            scale = 1 + np.abs(said).max()
            assert np.abs(by_graph.reshape(-1) - said).max() <= 1e-10 * scale
            by_runtime = runtime.run(shaped[0].astype(np.float32)).reshape(-1)
            assert np.abs(by_runtime - said).max() <= FLOAT32 * scale


@pytest.mark.parametrize("number", TINY)
def test_tiny_networks_agree_exactly(number: int) -> None:
    question = tiny_question(number)
    imported = load_onnx(question.model(), "f").graph
    for graph in (as_graph(question.network), imported):
        for point in points(question, 2):
            exact = as_exact(point)
            shaped = exact.reshape(question.network.shape)
            said = evaluate_exact(graph, {graph.input: shaped}, {}, [graph.output])[graph.output]
            assert said.reshape(-1).tolist() == evaluate(question.network, exact).tolist()


def test_a_convolution_is_what_it_is_in_words() -> None:
    weight = np.arange(1.0, 9.0).reshape(1, 2, 2, 2)
    image = np.arange(18.0).reshape(1, 2, 3, 3)
    layers = (Conv(weight, np.array([0.5]), stride=1, pad=1), Flatten())
    said = evaluate(Network(image.shape, layers), image.reshape(-1)).reshape(4, 4)
    padded = np.pad(image[0], ((0, 0), (1, 1), (1, 1)))
    for y in range(4):
        for x in range(4):
            assert said[y, x] == (weight[0] * padded[:, y : y + 2, x : x + 2]).sum() + 0.5


def test_the_oracle_finds_a_point_or_says_that_there_is_none() -> None:
    network = Network((1, 1), (Dense(np.eye(1), np.zeros(1)), RELU))
    box = np.array([-1.0]), np.array([1.0])
    touching = Question(network, *box, ((Atom(np.ones(1)),),))
    point = decide(touching)
    assert point is not None
    assert point[0] <= 0
    assert decide(Question(network, *box, ((Atom(np.ones(1), strict=True),),))) is None
    # Whole numbers in [-3/4, 3/4]: 0 alone, which is no 1/2.
    inside = np.array([-0.75]), np.array([0.75])
    half = ((Atom(np.ones(1), -0.5), Atom(-np.ones(1), 0.5)),)
    assert decide(Question(network, *inside, half)) is not None
    assert decide(Question(network, *inside, half, integers=(0,))) is None


@pytest.mark.parametrize("law", [name for name, law in LAWS.items() if law.gives == "same"])
def test_changed_questions_mean_the_same_exactly(law: str) -> None:
    for number in range(6):
        question = base_question(number)
        changed = LAWS[law].change(np.random.default_rng(number), question)
        for point in points(question):
            exact = as_exact(point)
            assert changed.violated(exact) == question.violated(exact)
            signs = [np.sign(q.violation(exact)) for q in (question, changed)]
            assert signs[0] == signs[1]
