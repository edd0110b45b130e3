"""The small data sets that scikit-learn carries in its package; nothing is downloaded."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np

from specdsl.data.dataset import Dataset, make_dataset
from specdsl.diagnostics import SpecError, suggestion

NAMES = ("digits", "iris", "wine", "breast_cancer")


def read_sklearn(name: str) -> Dataset:
    """`digits` as (8, 8) images with values 0 to 16, the others as vectors of features.

    Raises SpecError (no span): E0519 scikit-learn is not installed, E0520 unknown name.
    """
    if name not in NAMES:
        help_ = suggestion(name, NAMES) or "known are " + ", ".join(f'`"{n}"`' for n in NAMES)
        raise SpecError.of("E0520", f'scikit-learn carries no data set `"{name}"`', help=help_)
    try:
        datasets: Any = import_module("sklearn.datasets")
    except ImportError as error:
        help_ = 'pip install "specdsl[data]"'
        message = f'`sklearn("{name}")` needs scikit-learn, which is not installed'
        raise SpecError.of("E0519", message, help=help_) from error
    bunch = getattr(datasets, f"load_{name}")()
    inputs = np.asarray(bunch.images if name == "digits" else bunch.data)
    return make_dataset(inputs, np.asarray(bunch.target), f'`sklearn("{name}")`')
