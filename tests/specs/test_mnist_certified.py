"""`specs/mnist_certified.spec`: trained by its own text, and proven."""

from __future__ import annotations

from pathlib import Path

import specdsl
from specdsl.files import read_bytes
from specdsl.graph.safetensors import read_tensors
from specdsl.training.plan.resolve import plans_of

SPEC = Path(__file__).parents[2] / "specs" / "mnist_certified.spec"
FILES = {
    "train_images": "train-images-idx3-ubyte.gz",
    "train_labels": "train-labels-idx1-ubyte.gz",
    "test_images": "t10k-images-idx3-ubyte.gz",
    "test_labels": "t10k-labels-idx1-ubyte.gz",
}


def test_the_committed_weights_are_those_of_the_text() -> None:
    (plan,) = plans_of(specdsl.load(SPEC).combinations[0].spec)
    path = SPEC.parent / "networks" / "mnist_certified.safetensors"
    assert read_tensors(read_bytes(path), path.name).metadata["specdsl.recipe"] == plan.recipe


def test_what_was_trained_for_is_proven(shared: Path) -> None:
    data = shared / "data" / "mnist"
    params = {name: str(data / file) for name, file in FILES.items()} | {"count": 20}
    found = specdsl.load(SPEC, params).check()
    assert not found.diagnostics
    words = [result.word for result in found.results]
    # Of the first hundred images 92 are proven, of these 17; the others are broken, none is open.
    assert (words.count("verified"), words.count("falsified")) == (17, 3)
