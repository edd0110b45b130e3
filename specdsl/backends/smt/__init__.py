"""Exact rational arithmetic in Z3."""

from specdsl.backends.smt.backend import Smt
from specdsl.backends.smt.write import write_smt2

__all__ = ["Smt", "write_smt2"]
