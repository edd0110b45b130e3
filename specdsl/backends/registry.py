"""Backends by name. Modules are imported when a backend is made, never before."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from dataclasses import fields
from fractions import Fraction
from importlib import import_module
from typing import Any, cast

from specdsl.backend import Backend
from specdsl.diagnostics import SpecError, suggestion

CLASSES: Mapping[str, tuple[str, str]] = {
    "attack": ("specdsl.backends.attack", "Attack"),
    "incomplete": ("specdsl.backends.incomplete", "Incomplete"),
    "lp": ("specdsl.backends.lp", "Lp"),
    "milp": ("specdsl.backends.milp", "Milp"),
    "sdp": ("specdsl.backends.sdp", "Sdp"),
    "smt": ("specdsl.backends.smt", "Smt"),
    "search": ("specdsl.backends.search", "Search"),
    "sampling": ("specdsl.backends.sampling", "Sampling"),
    "portfolio": ("specdsl.backends.portfolio", "Portfolio"),
}
"""Name in `using` to (module, class)."""

DEFAULT = "portfolio"


def require_known(name: str) -> None:
    """Raise SpecError E0852 for a name that no backend has."""
    if name not in CLASSES:
        hint = suggestion(name, CLASSES) or "the backends are " + ", ".join(CLASSES)
        raise SpecError.of("E0852", f"there is no backend `{name}`", help=hint)


def create(
    name: str, options: Mapping[str, object], seed: int | None = None, device: str = "cpu"
) -> Backend:
    """An instance with the given options; exact numbers become what the option's type asks for.

    `seed` goes to backends that draw random numbers, unless the options set one already; `device`
    (`auto`, `cpu` or `cuda`) to those that compute with torch.
    Raises SpecError: E0852 unknown backend, E0853 unknown option, a value it cannot take, a
    device that is not there.
    """
    require_known(name)
    module, attribute = CLASSES[name]
    kind = cast("type[Any]", getattr(import_module(module), attribute))
    known = _option_types(kind)
    given = {key: value for key, value in options.items() if key != "timeout" or key in known}
    if seed is not None and "seed" in known and "seed" not in given:
        given["seed"] = seed
    if "device" in known and "device" not in given:
        from specdsl.bounds.devices import require_device

        require_device(device)
        given["device"] = device
    arguments = {key: _convert(name, known, key, value) for key, value in given.items()}
    try:
        return cast("Backend", kind(**arguments))
    except ValueError as error:
        raise SpecError.of("E0853", f"`{name}`: {error}") from error


def _option_types(kind: type[Any]) -> dict[str, object]:
    hints = typing.get_type_hints(kind)
    return {item.name: hints[item.name] for item in fields(kind) if item.init}


def _convert(backend: str, known: Mapping[str, object], key: str, value: object) -> object:
    if key not in known:
        hint = suggestion(key, known) or f"`{backend}` takes " + ", ".join(sorted(known))
        raise SpecError.of("E0853", f"`{backend}` has no option `{key}`", help=hint)
    wanted = _members(known[key])
    if isinstance(value, Fraction) and int in wanted and value.denominator == 1:
        return int(value)
    if isinstance(value, Fraction) and Fraction in wanted:
        return value
    if isinstance(value, Fraction) and float in wanted:
        return float(value)
    if any(isinstance(value, member) for member in wanted):
        return value
    names = " or ".join(sorted(m.__name__ for m in wanted))
    raise SpecError.of("E0853", f"`{backend}`: option `{key}` takes {names}, not `{value}`")


def _members(hint: object) -> tuple[type, ...]:
    """The plain types a field accepts: unions are opened, literals count as text."""
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        return tuple(m for part in typing.get_args(hint) for m in _members(part))
    if origin is typing.Literal:
        return tuple({type(value) for value in typing.get_args(hint)})
    plain = origin or hint
    return (plain,) if isinstance(plain, type) and plain is not types.NoneType else ()
