"""A backend as the command line asks for it: `search`, or `search(split = neuron, steps = 4)`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from specdsl.backend import Backend
from specdsl.backends.registry import create, require_known

if TYPE_CHECKING:
    from specdsl.language.spec import Value


@dataclass(frozen=True, slots=True, eq=False)
class AskedBackend:
    """A name, and options as exact values."""

    name: str
    options: Mapping[str, Value] = field(default_factory=dict[str, "Value"])

    @property
    def timeout(self) -> float | None:
        """Seconds, where they are among the options."""
        given = self.options.get("timeout")
        return float(given) if isinstance(given, Fraction) else None

    def create(self, seed: int | None = None, device: str = "cpu") -> Backend:
        """Raises SpecError as `registry.create`."""
        return create(self.name, self.options, seed, device)


def asked_backend(text: str) -> AskedBackend:
    """What is written after `--using`: what a spec has after `using`, or a name that is not in the
    language.

    Raises SpecError: E0852 for a name that no backend has, else as the same text in a spec.
    """
    if "(" not in text:
        require_known(text)
        return AskedBackend(text)
    # A name alone is the common case, and needs no parser.
    from specdsl.language.checking.options import backend_choice
    from specdsl.source import Source

    choice = backend_choice(Source("--using", text), Path.cwd())
    require_known(choice.name)
    return AskedBackend(choice.name, choice.options)
