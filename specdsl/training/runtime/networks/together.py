"""Several networks that are trained together: an encoder, what classifies, and a decoder.

networks = Together({"encoder": encoder, "head": head, "decoder": decoder}, ("encoder", "head"))
scores = networks(x)
images = networks.through(x, "encoder", "decoder")
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from specdsl.training.runtime.networks.network import Trainable


class Together(nn.Module):
    """Networks by their names. As a module it is those of `chain`, one behind the other.

    What is verified is the chain; the others take part in losses alone.
    """

    def __init__(self, networks: Mapping[str, nn.Module], chain: Sequence[str]) -> None:
        super().__init__()
        self.chain = tuple(chain)
        self._keys: dict[str, str] = {}
        for name, network in networks.items():
            # Names of a spec may have dots, or be those of methods; those of modules must not.
            key = name.replace(".", "_")
            while hasattr(self, key):
                key += "_"
            self._keys[name] = key
            self.add_module(key, network)

    @classmethod
    def of(cls, net: Trainable) -> Together:
        """The networks that are bounded and trained as one. Raises TypeError where it is one."""
        if not isinstance(net.module, cls):
            raise TypeError("the network is not one of several that are trained together")
        return net.module

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all networks, in order."""
        return tuple(self._keys)

    def __getitem__(self, name: str) -> nn.Module:
        """The network of that name. Raises KeyError where there is none."""
        return self.get_submodule(self._keys[name])

    def only(self, *chain: str) -> Together:
        """Some of the networks alone, one behind the other; they are the same modules."""
        return Together({name: self[name] for name in chain}, chain)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, *input) to what the chain gives."""
        return self.through(x, *self.chain)

    def through(self, x: Tensor, *names: str) -> Tensor:
        """What these networks make of `x`, each of what the one before gives."""
        for name in names:
            x = self[name](x)
        return x
