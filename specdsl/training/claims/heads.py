"""How an emitted function begins: its signature, its docstring, samples as vectors."""

from __future__ import annotations

from specdsl.training.claims.layout import docstring, signature
from specdsl.training.claims.template import ClaimTemplate, Parameter


def like_name(template: ClaimTemplate) -> str:
    """The parameter whose dtype and device everything has."""
    kept = [p.name for p in template.parameters if p.kind in {"input", "target"}]
    return kept[0] if kept else "like"


def head(template: ClaimTemplate, result: str) -> list[str]:
    """Signature and docstring. The parts of a sample go before the numbers, which have names."""
    last = [parameter for parameter in template.parameters if parameter.kind == "number"]
    first = [parameter for parameter in template.parameters if parameter.kind != "number"]
    parameters = [_declared(parameter) for parameter in (*first, *last)]
    if like_name(template) == "like":
        parameters.insert(0, "like: Tensor")
    return [*signature(template.name, parameters, result), *docstring(template.text)]


def _declared(parameter: Parameter) -> str:
    return f"{parameter.name}: {'float' if parameter.kind == 'number' else 'Tensor'}"


def flattened(template: ClaimTemplate) -> list[str]:
    """Samples as vectors."""
    found: list[str] = []
    for parameter in template.parameters:
        name, rank = parameter.name, len(parameter.shape)
        if parameter.kind not in {"input", "target"} or rank == 1:
            continue
        flat = f"{name}.flatten(1)" if rank else f"{name}.reshape(-1, 1)"
        found.append(f"    {name} = {flat}")
    return found
