"""The committed networks and data are what the scripts in `examples/` make."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from sklearn.datasets import load_digits

ROOT = Path(__file__).resolve().parents[2]
SPECS = ROOT / "specs"

# Weights of a training repeated on another machine: float64 rounding, amplified over its epochs.
RETRAINED = 1e-3
POINTS = 100
# Digits that the scripts train on, and what their pixels are divided by.
SEEN, GREY_LEVELS = 1_297, 16
# Three networks that learn together, with noise, for a thousand steps: on another kind of processor
# rounding grows into other weights. What comes out again is how good they are.
AS_GOOD = {"train_latent.py": 0.03}

SCRIPTS = {
    "train_credit.py": (SPECS / "networks", ["credit_careful.onnx", "credit_careless.onnx"]),
    "train_distilled.py": (
        SPECS / "networks",
        ["teacher.onnx", "student.onnx", "student_coarse.onnx"],
    ),
    "train_convolution.py": (SPECS / "networks", ["convolution.onnx"]),
    "train_controller.py": (SPECS / "networks", ["double_integrator.onnx"]),
    "train_latent.py": (
        SPECS,
        [
            "networks/encoder.onnx",
            "networks/classifier.onnx",
            "networks/decoder.onnx",
            "data/sample.npy",
        ],
    ),
    "make_idx.py": (
        SPECS / "data",
        [
            f"digits-{part}-{kind}-ubyte.gz"
            for part in ("train", "test")
            for kind in ("images-idx3", "labels-idx1")
        ],
    ),
}


def outputs(network: Path) -> np.ndarray:
    """What a network answers on seeded points from 0 to 1."""
    session = onnxruntime.InferenceSession(network.read_bytes())
    (entry,) = session.get_inputs()
    generator = np.random.default_rng(0)
    points = generator.random((POINTS, *entry.shape), dtype=np.float32)
    return np.stack([session.run(None, {entry.name: point})[0] for point in points])


def assert_same(made: Path, kept: Path) -> None:
    if made.suffix == ".onnx":
        assert np.allclose(outputs(made), outputs(kept), rtol=RETRAINED, atol=RETRAINED)
    else:
        assert made.read_bytes() == kept.read_bytes()


def shares_right(networks: Path) -> list[float]:
    """Of unseen digits: those classified right, and those right once encoded and decoded."""
    digits = load_digits()
    images = (digits.images[SEEN:] / GREY_LEVELS).astype(np.float32)
    sessions = {
        name: onnxruntime.InferenceSession((networks / f"{name}.onnx").read_bytes())
        for name in ("encoder", "classifier", "decoder")
    }

    def run(name: str, x: np.ndarray) -> np.ndarray:
        session = sessions[name]
        return np.asarray(session.run(None, {session.get_inputs()[0].name: x})[0])

    found: list[tuple[bool, bool]] = []
    for image, digit in zip(images, digits.target[SEEN:], strict=True):
        code = run("encoder", image[None])
        again = run("encoder", run("decoder", code))
        first, second = (int(run("classifier", each).argmax()) for each in (code, again))
        found.append((first == digit, second == digit))
    return np.mean(found, axis=0).tolist()


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_makes_the_committed_files_again(script: str, tmp_path: Path) -> None:
    folder, names = SCRIPTS[script]
    command = [sys.executable, str(ROOT / "examples" / script), str(tmp_path)]
    subprocess.run(
        command, check=True, capture_output=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    if script in AS_GOOD:
        made, kept = (shares_right(own / "networks") for own in (tmp_path, folder))
        assert min(kept) > 0.8
        assert made == pytest.approx(kept, abs=AS_GOOD[script])
        names = [name for name in names if not name.endswith(".onnx")]
    for name in names:
        assert_same(tmp_path / name, folder / name)


def test_every_committed_file_has_a_script() -> None:
    made = {folder / name for folder, names in SCRIPTS.values() for name in names}
    made.add(SPECS / "networks" / "digits.onnx")  # its own test is with `specs/digits.spec`
    # By `specdsl train specs/mnist_certified.spec`: tests/specs/test_mnist_certified.py.
    made.add(SPECS / "networks" / "mnist_certified.safetensors")
    # By `specdsl train specs/autoencoder.spec`: tests/specs/test_autoencoder.py.
    made |= {SPECS / "networks" / f"{name}.safetensors" for name in ("plain", "ae", "vae")}
    kept = {f for part in ("networks", "data") for f in (SPECS / part).iterdir()}
    assert kept == made
