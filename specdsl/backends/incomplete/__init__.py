"""Bounds alone: one pass, no search. Verifies or says Unknown."""

from specdsl.backends.incomplete.backend import Incomplete

__all__ = ["Incomplete"]
