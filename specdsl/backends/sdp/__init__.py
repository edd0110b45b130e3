"""The semidefinite relaxation, on Clarabel or SCS through cvxpy."""

from specdsl.backends.sdp.backend import Sdp

__all__ = ["Sdp"]
