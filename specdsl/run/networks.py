"""The networks that a file holds: an ONNX file its own, a spec those it declares."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from specdsl.diagnostics import Diagnostic, SpecError
from specdsl.files import read_bytes
from specdsl.graph.onnx_import.load import ImportedNetwork, load_onnx
from specdsl.query.elaboration.values.resources import Resources
from specdsl.run.pipeline import load_combinations

ONNX_SUFFIXES = (".onnx", ".onnx.gz")
SPEC_SUFFIX = ".spec"


@dataclass(frozen=True, slots=True, eq=False)
class NamedNetwork:
    """A network under the name it is shown by."""

    name: str
    imported: ImportedNetwork


def is_onnx(path: Path) -> bool:
    """Whether the name says that the file is an ONNX file."""
    return path.name.endswith(ONNX_SUFFIXES)


def onnx_network(path: Path) -> NamedNetwork:
    """The network of an ONNX file. Raises SpecError E05xx, E06xx."""
    return NamedNetwork(path.name, load_onnx(read_bytes(path), path.name))


def declared_networks(
    path: Path, overrides: Mapping[str, str], allowed: Sequence[Path]
) -> Iterator[NamedNetwork | Diagnostic]:
    """The networks that a spec declares from a file or in layers, or why one cannot be read.

    Of a sweep, a network that several combinations share comes once. Raises SpecError for what is
    wrong with the spec itself.
    """
    resources = Resources()
    seen: dict[str, list[bytes]] = {}
    told: set[Diagnostic] = set()
    for combination in load_combinations(path, overrides, allowed):
        for name, declaration in combination.spec.networks.items():
            if declaration.value is not None:
                continue  # composed of others, which are shown themselves
            try:
                imported = resources.network(combination.spec, name).imported
            except SpecError as error:
                yield from (d for d in error.diagnostics if d not in told)
                told.update(error.diagnostics)
                continue
            known = seen.setdefault(name, [])
            if imported.model not in known:
                known.append(imported.model)
                yield NamedNetwork(name + (combination.suffix if len(known) > 1 else ""), imported)
