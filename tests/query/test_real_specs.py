"""The specs that come with the project say what they should."""

from __future__ import annotations

import gzip
import importlib.util
import sys
from fractions import Fraction
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from specdsl.files import read_source
from specdsl.graph.evaluate import evaluate
from specdsl.graph.onnx_import.load import load_onnx
from specdsl.language.checking.check import check
from specdsl.language.parsing.parser import parse
from specdsl.query.elaboration.elaborate import Obligation, elaborate
from specdsl.query.elaboration.values.resources import Resources
from specdsl.query.query import Query
from specdsl.query.sets import Box
from specdsl.query.vnnlib import v1 as vnnlib1

ROOT = Path(__file__).resolve().parents[2]
SPECS = ROOT / "specs"

# The public VNN-LIB files round normalised bounds to nine decimals.
NINE_DECIMALS = 6e-10
# Weights of a training repeated on another machine: float64 rounding, amplified over 400 epochs.
RETRAINED = 1e-3


def load(name: str, **overrides: str) -> tuple[tuple[Obligation, ...], Resources]:
    path = SPECS / name
    program = parse(read_source(path))
    spec = check(program, overrides, base=SPECS, working_directory=Path.cwd())
    assert not spec.warnings
    resources = Resources()
    return elaborate(spec, resources), resources


# --- ACAS Xu -------------------------------------------------------------------------------------

MEAN = [19791.091, 0, 0, 650, 600]
RANGE = [60261, 6.28318530718, 6.28318530718, 1100, 1200]


def normalised(query: Query) -> list[tuple[list[float], list[float]]]:
    """The distinct boxes of a query as the network sees them."""
    found: dict[tuple[Fraction, ...], tuple[list[float], list[float]]] = {}
    for case in query.cases:
        lower, upper = case.inputs.box.lower, case.inputs.box.upper
        low, high = (
            [(float(v) - m) / r for v, m, r in zip(side, MEAN, RANGE, strict=True)]
            for side in (lower, upper)
        )
        found[(*lower, *upper)] = (low, high)
    return list(found.values())


@pytest.fixture(scope="module")
def acasxu(shared: Path) -> tuple[dict[str, Query], Path]:
    file = shared / "data/vnncomp/acasxu/onnx/ACASXU_run2a_1_1_batch_2000.onnx.gz"
    obligations, resources = load("acasxu.spec", net_file=str(file))
    assert [o.property_name for o in obligations] == [f"phi{i}" for i in range(1, 11)]
    return {o.property_name: o.query(resources) for o in obligations}, file


@pytest.mark.parametrize("number", range(1, 7))
def test_boxes_of_acasxu_are_those_of_the_public_files(
    acasxu: tuple[dict[str, Query], Path], shared: Path, number: int
) -> None:
    queries, file = acasxu
    network = load_onnx(gzip.decompress(file.read_bytes()), "acas", check=False)
    text = gzip.decompress(
        (shared / f"data/vnncomp/acasxu/vnnlib/prop_{number}.vnnlib.gz").read_bytes()
    )
    public = vnnlib1.read(text, network, f"prop_{number}")
    ours = queries[f"phi{number}"]
    theirs = {(*c.inputs.box.lower, *c.inputs.box.upper) for c in public.cases}
    expected = [([float(v) for v in t[:5]], [float(v) for v in t[5:]]) for t in theirs]
    assert np.allclose(sorted(normalised(ours)), sorted(expected), rtol=0, atol=NINE_DECIMALS)
    assert len(ours.cases) == len(public.cases)


def test_margins_of_acasxu_agree_with_the_public_files(
    acasxu: tuple[dict[str, Query], Path], shared: Path
) -> None:
    """At one point, in user units here and normalised there: unsafe in both or in neither."""
    queries, file = acasxu
    network = load_onnx(gzip.decompress(file.read_bytes()), "acas", check=False)
    random = np.random.default_rng(0)
    for number in range(1, 7):
        text = gzip.decompress(
            (shared / f"data/vnncomp/acasxu/vnnlib/prop_{number}.vnnlib.gz").read_bytes()
        )
        public, ours = vnnlib1.read(text, network, "p"), queries[f"phi{number}"]
        low, high = ours.cases[0].inputs.box.float_bounds()
        points = low + (high - low) * random.random((200, 5))
        scaled = (points - np.array(MEAN)) / np.array(RANGE)
        assert np.array_equal(violations(ours, points), violations(public, scaled))


def violations(query: Query, points: np.ndarray) -> np.ndarray:
    graph = query.graph
    shaped = points.reshape(len(points), *graph.shapes[graph.input])
    margins = evaluate(graph, {graph.input: shaped})[graph.output].reshape(len(points), -1)
    cases = [np.all(margins[:, [a.index for a in case.atoms]] <= 0, axis=1) for case in query.cases]
    return np.any(cases, axis=0)


def test_acasxu_bounds_are_exact_in_user_units(acasxu: tuple[dict[str, Query], Path]) -> None:
    queries, _ = acasxu
    box = queries["phi9"].cases[0].inputs.box
    assert box.lower.tolist() == [2000, Fraction("-0.4"), Fraction("-3.141592"), 100, 0]
    assert box.upper.tolist() == [
        7000, Fraction("-0.14"), Fraction("-3.131592"), 150, 150
    ]  # fmt: skip
    assert [v.unit for v in queries["phi1"].variables] == ["m", "rad", "rad", "m/s", "m/s"]
    assert queries["phi1"].calls[0].labels == ("COC", "WL", "WR", "SL", "SR")


# --- robustness ----------------------------------------------------------------------------------


def test_robustness_takes_any_network_and_slice(shared: Path) -> None:
    obligations, resources = load(
        "robustness.spec",
        net_file=str(shared / "data/vnncomp/mnist_fc/onnx/mnist-net_256x2.onnx.gz"),
        images=str(shared / "data/mnist/t10k-images-idx3-ubyte.gz"),
        labels=str(shared / "data/mnist/t10k-labels-idx1-ubyte.gz"),
        first="5",
        count="2",
        eps="1/255",
    )
    assert [o.id for o in obligations] == [f"robustness.spec::robust_on_test[{i}]" for i in (5, 6)]
    query = obligations[0].query(resources)
    sample = obligations[0].sample_point(resources)
    assert sample is not None
    assert len(query.cases) == 9
    box = query.cases[0].inputs.box
    assert max(box.upper - sample) == max(sample - box.lower) == Fraction(1, 255)
    assert all(case.inputs is query.cases[0].inputs for case in query.cases)


# --- digits --------------------------------------------------------------------------------------


def test_digits_has_robust_and_misclassified_samples() -> None:
    obligations, resources = load("digits.spec")
    assert len(obligations) == 12
    held = 0
    for obligation in obligations:
        query, sample = obligation.query(resources), obligation.sample_point(resources)
        assert sample is not None
        assert sample in query.cases[0].inputs
        assert isinstance(query.cases[0].inputs, Box)
        held += not violations(query, np.array([[float(v) for v in sample]]))[0]
    assert 0 < held < 12


def example(name: str) -> ModuleType:
    """A script of `examples/`, which import each other from their own folder."""
    if str(ROOT / "examples") not in sys.path:
        sys.path.append(str(ROOT / "examples"))
    spec = importlib.util.spec_from_file_location(name, ROOT / "examples" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def test_the_committed_digits_network_is_small_and_good() -> None:
    content = (SPECS / "networks/digits.onnx").read_bytes()
    assert len(content) < 2**20
    graph = load_onnx(content, "digits").graph
    _, unseen = example("training").digits()
    images = unseen.images.numpy().reshape(-1, 1, 8, 8)
    scores = evaluate(graph, {graph.input: images})[graph.output].reshape(len(images), -1)
    assert (scores.argmax(axis=1) == unseen.classes.numpy()).mean() > 0.9


@pytest.mark.slow
def test_the_committed_digits_network_is_what_the_script_makes() -> None:
    script = example("train_digits")
    seen, unseen = example("training").digits()
    made = script.to_graph(script.train(seen))
    kept = load_onnx((SPECS / "networks/digits.onnx").read_bytes(), "digits").graph
    images = unseen.images.numpy().reshape(-1, 1, 8, 8)
    first, second = (evaluate(g, {g.input: images})[g.output] for g in (made, kept))
    assert np.allclose(first, second, rtol=0, atol=RETRAINED)
