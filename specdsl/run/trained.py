"""Whether the networks that a spec trains were trained by its text as it stands."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from specdsl.diagnostics import Diagnostic, SpecError, diagnostic
from specdsl.files import read_bytes
from specdsl.graph.onnx_import.read import properties_of
from specdsl.graph.safetensors import read_tensors
from specdsl.language.spec import Spec
from specdsl.training.plan.recipe import KEY
from specdsl.training.plan.resolve import plans_of

SHOWN = 12


def stale_networks(spec: Spec) -> Iterator[Diagnostic]:
    """W0903 for every saved network whose file bears the hash of another training.

    Files without a hash say nothing. What is wrong with a file or a training is reported where it
    is read.
    """
    read = [t for t in spec.trainings if any(_is_read(name, spec) for name in t.parts)]
    used = [t for t in read if any(map(_is_file, t.saved))]
    if not used:
        return
    plans = {plan.span: plan for plan in plans_of(spec)}
    for training in used:
        path = next(filter(_is_file, training.saved))
        found, wanted = _recipe(path), plans[training.span].recipe
        if found is not None and found != wanted:
            yield diagnostic(
                "W0903",
                f"`{training.network}` was trained by another text than this",
                training.span,
                label=f"recipe {wanted[:SHOWN]}, not {found[:SHOWN]}",
                help=f"run `specdsl train` again, which writes `{path.name}`",
            )


def _is_file(path: Path) -> bool:
    return path.is_file()


def _is_read(network: str, spec: Spec) -> bool:
    """Whether checks read what its training saved."""
    declared = spec.networks.get(network)
    return declared is not None and bool(declared.layers) and declared.weights is None


def _recipe(path: Path) -> str | None:
    try:
        content = read_bytes(path)
        if path.suffix == ".onnx":
            return properties_of(content, path.name).get(KEY)
        return read_tensors(content, path.name).metadata.get(KEY)
    except SpecError:
        # The same comes up, with its place, where the network is loaded.
        return None
