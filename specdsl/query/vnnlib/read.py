"""A VNN-LIB file of either version, for callers with one network."""

from __future__ import annotations

from specdsl.diagnostics import SpecError
from specdsl.graph.onnx_import.load import ImportedNetwork
from specdsl.query.query import Query
from specdsl.query.vnnlib.reading import decode, version_of


def read_query(content: bytes | str, network: ImportedNetwork, name: str) -> Query:
    """The query that a file states about a network, whatever the file calls it.

    Raises SpecError: E0505, E10xx; E1012 where a file of version 2.0 needs several networks.
    """
    source = decode(content, name)
    if version_of(source) == 1:
        from specdsl.query.vnnlib import v1

        return v1.read(source.text, network, name)
    # Most files are of version 1, and need nothing of what the language has in common with 2.
    from specdsl.query.vnnlib import v2
    from specdsl.query.vnnlib.v2_query import bind

    specification = v2.read_specification(source.text, name)
    first, *others = (n for n in specification.networks if n.relation != "equal-to")
    if others:
        text = f"`{name}` speaks about {len(others) + 1} networks, one is given"
        help_ = "use `specdsl-vnnlib verify`, which takes several"
        raise SpecError.of("E1012", text, specification.span(others[0].start), help=help_)
    return bind(specification, {first.name: network}).query
