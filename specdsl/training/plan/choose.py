"""Which training of a spec is meant."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from specdsl.diagnostics import SpecError, suggestion
from specdsl.training.plan.plan import Plan


def chosen_plan(plans: Sequence[Plan], network: str | None, path: Path) -> Plan:
    """The training of that network, or the only one. Raises SpecError E0859 for any other number.

    `path`: of the spec, for messages.
    """
    chosen = [plan for plan in plans if network in {None, plan.network}]
    if len(chosen) == 1:
        return chosen[0]
    names = [plan.network for plan in plans]
    if not plans:
        raise SpecError.of("E0859", f"`{path}` trains nothing", help="add a `train` block")
    if network is not None and not chosen:
        listed = ", ".join(f"`{name}`" for name in names)
        help_ = suggestion(network, names) or f"it trains {listed}"
        raise SpecError.of("E0859", f"`{path}` does not train `{network}`", help=help_)
    text = f"`{path}` has {len(chosen)} trainings"
    raise SpecError.of("E0859", text, help=f"choose with `--network {names[0]}`")
