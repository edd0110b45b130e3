"""`check m` and `check m.name`: the checks and queries of a module, run from another file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from specdsl.diagnostics import diagnostic
from specdsl.language import syntax
from specdsl.language.modules.namespaces import Namespace, Runnable
from specdsl.language.modules.rename import Renamer
from specdsl.language.syntax import Expr


def runs_of(item: syntax.Check, renamer: Renamer) -> list[Runnable]:
    """What a `check` stands for: itself, renamed, where it names no module.

    A module's checks keep their options except those that `item` writes too: its `using` goes
    before theirs, its `report`s and `expect`s replace theirs. Their names get that of the module
    in front, or the one after `as`.
    """
    plain: list[Expr] = []
    found: list[Runnable | None] = []
    for claim in item.properties:
        runs = _module_runs(claim, renamer)
        if runs is not None:
            found += runs
            continue
        if not plain:
            found.append(None)  # the place of all properties that are not of this kind
        plain.append(claim)
    own = renamer.run(replace(item, properties=tuple(plain)))
    options = own.options
    taken = [own if run is None else _with_options(run, options, item) for run in found]
    return list(_named(taken, options.name))


def _module_runs(claim: Expr, renamer: Renamer) -> list[Runnable] | None:
    """The checks that a property of `check` names, with the names they get; None for a claim."""
    module = renamer.module(claim)
    if module is not None:
        if not module.runs:
            _nothing(claim, module, renamer)
        return [_under(run, _written(claim)) for run in module.runs]
    match claim:
        case syntax.Attribute(base=base, name=name):
            module = renamer.module(base)
        case _:
            return None
    if module is None:
        return None
    named = [run for run in module.runs if run.options.name == name]
    return [_under(run, _written(base)) for run in named] or None


def _under(run: Runnable, module: str) -> Runnable:
    """With the module's name before its own."""
    name = run.options.name
    if name is None:
        return run
    return replace(run, options=replace(run.options, name=f"{module}.{name}"))


def _with_options(run: Runnable, given: syntax.Options, item: syntax.Check) -> Runnable:
    """With the options of the `check` that runs it, and placed there."""
    options = replace(
        run.options,
        using=given.using or run.options.using,
        reports=given.reports or run.options.reports,
        expects=given.expects or run.options.expects,
    )
    return replace(run, options=options, span=item.span)


def _named(runs: list[Runnable], name: str | None) -> Iterator[Runnable]:
    """One takes the name after `as`; several take it with their own or their number behind."""
    for number, run in enumerate(runs, 1):
        if name is None:
            yield run
            continue
        own = (run.options.name or "").rpartition(".")[2]
        full = name if len(runs) == 1 else f"{name}.{own if own and own != name else number}"
        yield replace(run, options=replace(run.options, name=full))


def _written(node: Expr) -> str:
    return "".join(node.span.text.split())


def _nothing(claim: Expr, module: Namespace, renamer: Renamer) -> None:
    written = _written(claim)
    message = f"the module `{written}` has no checks"
    names = ", ".join(f"`check {written}.{name}`" for name in module.properties)
    help = f"check a property of it: {names}" if names else "it declares no property either"
    renamer.diagnostics.add(diagnostic("E0215", message, claim.span, help=help))
