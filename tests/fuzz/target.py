"""What is fuzzed: a reader of files, inputs to begin with, and how they are changed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

CORPUS = Path(__file__).parent / "corpus"

Mutate = Callable[[Random, bytes, Sequence[bytes]], bytes]
"""A changed input, from one of the inputs to begin with and all of them. The generator decides."""


def nothing(_folder: Path) -> None:
    """No files beside the input."""


@dataclass(frozen=True, slots=True)
class Target:
    """A reader of files that strangers may have written.

    `corpus`: inputs to begin with; `run` reads one and may raise a SpecError, and nothing else. It
    may write to `folder` (the working directory too) and read there; `prepare` puts files into it
    first. `share`: how many of the runs of `make test` it gets. Importing a target must cost
    nothing: functions import what they need.
    """

    name: str
    suffix: str
    corpus: Callable[[], Sequence[bytes]]
    mutate: Mutate
    run: Callable[[bytes, Path], object]
    share: int
    prepare: Callable[[Path], None] = nothing

    @property
    def regressions(self) -> tuple[Path, ...]:
        """Inputs that were findings once."""
        return tuple(sorted(p for p in (CORPUS / self.name).glob("*") if p.is_file()))

    def seeds(self) -> tuple[bytes, ...]:
        """Everything that mutations begin with."""
        return (*self.corpus(), *(path.read_bytes() for path in self.regressions))
