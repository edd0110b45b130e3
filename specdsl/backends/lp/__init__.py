"""The linear relaxation of all layers at once, on HiGHS through Pyomo."""

from specdsl.backends.lp.backend import Lp

__all__ = ["Lp"]
