"""Looking for witnesses by gradient descent. Falsifies or says Unknown."""

from specdsl.backends.attack.backend import Attack

__all__ = ["Attack"]
