"""What an answer is found by: the question, who was asked, in which versions."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from fractions import Fraction
from functools import cache, cached_property
from hashlib import sha256
from importlib import metadata
from pathlib import Path

from specdsl.backend import Backend
from specdsl.verdict import SEMANTICS
from specdsl.version import __version__

LIBRARIES = ("highspy", "numpy", "onnxruntime", "pyomo", "scipy", "torch", "z3-solver")
"""What answers come from, besides our own code."""

PACKAGE = Path(__file__).parents[2]
"""Where our own code is."""

TIME = "timeout"
"""The option that decides when an answer comes, not which: no part of a key."""


@dataclass(frozen=True)
class Key:
    """`query`: its digest. `backend`: name and options; `versions`: of specdsl and `LIBRARIES`."""

    query: str
    backend: str
    versions: str
    semantics: str = SEMANTICS

    @cached_property
    def text(self) -> str:
        """All of it as one SHA-256, in hexadecimal."""
        # As JSON: no part can be taken for the end of the one before it.
        parts = [self.query, self.backend, self.versions, self.semantics]
        return sha256(json.dumps(parts).encode()).hexdigest()


def backend_text(backend: Backend) -> str:
    """`search(batch = 128, ...)`: every option, those left at their default too.

    Raises TypeError for an option that is neither a number, a word nor None.
    """
    named = {f.name: getattr(backend, f.name) for f in fields(backend)}  # type: ignore[arg-type]
    options = (f"{name} = {_option(v)}" for name, v in sorted(named.items()) if name != TIME)
    return f"{backend.name}({', '.join(options)})"


def _option(value: object) -> str:
    if isinstance(value, Fraction):
        return str(value)
    if value is None or isinstance(value, bool | int | float | str):
        return json.dumps(value)
    raise TypeError(f"an option of a backend is a {type(value).__name__}")


@cache
def versions() -> str:
    """Of everything that answers come from, as JSON; of specdsl with a hash of its code. Found out
    once: what is loaded stays.

    A release would be told by its number alone. A checkout is not: while somebody mends a bug, the
    number stays, and what the bug has proven must not.
    """
    found = {name: metadata.version(name) for name in LIBRARIES}
    found["specdsl"] = f"{__version__}+{code_hash(PACKAGE)}"
    return json.dumps(found, sort_keys=True)


def code_hash(package: Path) -> str:
    """Of all modules below a folder, by name and content; about 20 ms for ours."""
    found = sha256()
    for path in sorted(package.rglob("*.py")):
        content = path.read_bytes()
        head = f"{path.relative_to(package).as_posix()} {len(content)}\n"
        found.update(head.encode() + content)
    return found.hexdigest()[:16]
