"""`specs/autoencoder.spec`: three classifiers, each trained by its own text and checked."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

import specdsl
from specdsl.cli.main import main
from specdsl.files import read_bytes
from specdsl.graph.safetensors import read_tensors
from specdsl.training.plan.resolve import plans_of

SPEC = Path(__file__).parents[2] / "specs" / "autoencoder.spec"
NAMES = ("plain", "ae", "vae")
VERIFIED = {"of_plain": 7, "of_ae": 9, "of_vae": 10, "of_codes": 7}
# Weights of a training repeated on another machine: float32 rounding, amplified over its epochs.
RETRAINED = 1e-2


def tensors(path: Path) -> dict[str, np.ndarray]:
    file = read_tensors(read_bytes(path), path.name)
    return {name: file.tensor(name) for name in file.places}


def test_the_committed_weights_are_those_of_the_text() -> None:
    plans = {plan.network: plan for plan in plans_of(specdsl.load(SPEC).combinations[0].spec)}
    for name in NAMES:
        path = SPEC.parent / "networks" / f"{name}.safetensors"
        recipe = read_tensors(read_bytes(path), path.name).metadata["specdsl.recipe"]
        assert recipe == plans[name].recipe


def test_each_classifier_is_checked() -> None:
    found = specdsl.load(SPEC).check()
    assert not found.diagnostics
    counts = {c.name: [r.word for r in c.results].count("verified") for c in found.checks}
    assert counts == VERIFIED


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_training_makes_the_committed_weights_again(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(SPEC, tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(["train", SPEC.name, "--network", name])
    assert ended.value.code == 0
    made = tensors(tmp_path / "networks" / f"{name}.safetensors")
    kept = tensors(SPEC.parent / "networks" / f"{name}.safetensors")
    assert set(made) == set(kept)
    for tensor, values in made.items():
        assert np.allclose(values, kept[tensor], atol=RETRAINED)
