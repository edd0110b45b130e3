"""The exact mixed-integer encoding, on HiGHS through Pyomo."""

from specdsl.backends.milp.backend import Milp

__all__ = ["Milp"]
