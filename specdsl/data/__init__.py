"""Readers of datasets and of the files a spec names, with guards against hostile input."""

from specdsl.data.dataset import Dataset, make_dataset
from specdsl.data.read import conform, read_dataset

__all__ = ["Dataset", "conform", "make_dataset", "read_dataset"]
