"""A specification language and compiler for neural networks.

    import specdsl

    spec = specdsl.load("robust.spec", params={"eps": "4/255"})
    report = spec.check(using="portfolio", timeout=30)
    report.results, report.exit_code

    bounds = specdsl.bound("net.onnx", specdsl.NormBall(x, 0.1, "linf"), method="crown")
    bounds.lower, bounds.upper

Importing this package loads nothing heavy: torch and the solvers come with the first `check`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from specdsl.version import __version__

if TYPE_CHECKING:
    from specdsl.api import Specification, load
    from specdsl.bounds.bound import NetworkBounds, bound
    from specdsl.bounds.regions.given import Box, LinearConstraints, NormBall
    from specdsl.diagnostics import SpecError
    from specdsl.run.result import Report, Result

__all__ = [
    "Box",
    "LinearConstraints",
    "NetworkBounds",
    "NormBall",
    "Report",
    "Result",
    "SpecError",
    "Specification",
    "__version__",
    "bound",
    "load",
]

_HOMES = {
    "Box": "specdsl.bounds.regions.given",
    "LinearConstraints": "specdsl.bounds.regions.given",
    "NetworkBounds": "specdsl.bounds.bound",
    "NormBall": "specdsl.bounds.regions.given",
    "Report": "specdsl.run.result",
    "Result": "specdsl.run.result",
    "SpecError": "specdsl.diagnostics",
    "Specification": "specdsl.api",
    "bound": "specdsl.bounds.bound",
    "load": "specdsl.api",
}


def __getattr__(name: str) -> object:
    """A public name, from its module, on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module 'specdsl' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
