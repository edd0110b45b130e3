"""Batched torch kernels: sound lower and upper bounds on every node of a graph."""

from specdsl.bounds.analysis import pre_activation_bounds
from specdsl.bounds.interval import EmptyInterval, Interval, NumpyInterval

__all__ = ["EmptyInterval", "Interval", "NumpyInterval", "pre_activation_bounds"]
