"""The committed networks and data are what the scripts in `examples/` make."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

ROOT = Path(__file__).resolve().parents[2]
SPECS = ROOT / "specs"

# Weights of a training repeated on another machine: float64 rounding, amplified over its epochs.
RETRAINED = 1e-3
POINTS = 100

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


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_makes_the_committed_files_again(script: str, tmp_path: Path) -> None:
    folder, names = SCRIPTS[script]
    command = [sys.executable, str(ROOT / "examples" / script), str(tmp_path)]
    subprocess.run(
        command, check=True, capture_output=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
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
