"""Draws samples: what they say has a confidence, and proves nothing."""

from specdsl.backends.sampling.backend import Sampling

__all__ = ["Sampling"]
