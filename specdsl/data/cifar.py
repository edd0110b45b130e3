"""The binary form of CIFAR-10 and CIFAR-100: label bytes and an image, sample after sample."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from specdsl.data.dataset import Dataset, make_dataset
from specdsl.diagnostics import SpecError
from specdsl.files import read_bytes

SHAPE = (3, 32, 32)
PIXELS = 3 * 32 * 32
# CIFAR-100 has a coarse label in front of the fine one.
LABEL_BYTES = {10: 1, 100: 2}


def read_cifar(path: Path, classes: int) -> Dataset:
    """Images as (3, 32, 32) with values 0 to 255, and their labels; of CIFAR-100 the fine ones.

    Raises SpecError (no span): E05xx of `read_bytes`, E0523 where the file has another length than
    whole samples have, or `classes` is neither 10 nor 100.
    """
    if classes not in LABEL_BYTES:
        message = f"CIFAR has 10 classes or 100, not {classes}"
        raise SpecError.of("E0523", message, help="write `classes = 100` for CIFAR-100")
    content = read_bytes(path)
    extent = LABEL_BYTES[classes] + PIXELS
    if not content or len(content) % extent:
        message = f"`{path}` has {len(content)} bytes, which is no number of samples of {extent}"
        other = 110 - classes
        help_ = f"a file of CIFAR-{other} is read with `classes = {other}`"
        raise SpecError.of("E0523", message, help=help_)
    samples = np.frombuffer(content, np.uint8).reshape(-1, extent)
    images = samples[:, -PIXELS:].reshape(-1, *SHAPE)
    return make_dataset(images, samples[:, LABEL_BYTES[classes] - 1], f"`{path.name}`")
