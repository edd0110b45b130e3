"""Readers of datasets and of the files a spec names, with guards against hostile input."""

from specdsl.data.cifar import read_cifar
from specdsl.data.csv_table import read_csv
from specdsl.data.dataset import Dataset, make_dataset
from specdsl.data.idx import read_idx
from specdsl.data.npz import read_npy_pair, read_npz
from specdsl.data.read import conform, read_dataset
from specdsl.data.sklearn_sets import read_sklearn

__all__ = [
    "Dataset",
    "conform",
    "make_dataset",
    "read_cifar",
    "read_csv",
    "read_dataset",
    "read_idx",
    "read_npy_pair",
    "read_npz",
    "read_sklearn",
]
