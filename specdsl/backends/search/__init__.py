"""Branch and bound: split what bounds cannot settle. Verifies and falsifies."""

from specdsl.backends.search.backend import Search

__all__ = ["Search"]
