"""Cactus plots: how many instances are decided when each may take so many seconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.vnncomp.runs import Rules, Run

PANELS: Mapping[str, Sequence[str]] = {
    "acasxu": ("acasxu",),
    "images": ("mnist_fc", "oval21", "sri_resnet_a", "cifar10_resnet", "eran"),
    "all": (),
}
"""Families of each panel; none means all."""


def curve(run: Run, families: Sequence[str], rules: Rules) -> list[float]:
    """The seconds of what was decided, ascending: the n-th is when n were."""
    decided = [key for key in run.decided(rules) if not families or key[0] in families]
    return sorted(run.seconds(decided, rules))


def comparable(runs: Sequence[Run], own: Run, families: Sequence[str]) -> list[Run]:
    """The runs that were given every instance of our own: others' curves would mean nothing."""
    keys = {key for key in own.answers if not families or key[0] in families}
    return [run for run in runs if keys and keys <= run.answers.keys()]


def draw(own: Sequence[Run], references: Sequence[Run], rules: Rules, path: Path) -> None:
    """A panel for each group of families that our first run has, a line for each run."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    panels = {
        title: comparable([*own, *references], own[0], families)
        for title, families in PANELS.items()
    }
    shown = {title: runs for title, runs in panels.items() if runs}
    with rc_context({"svg.hashsalt": "specdsl", "svg.fonttype": "none"}):
        figure = Figure(figsize=(3.4 * len(shown), 3.2), layout="constrained")
        axes = figure.subplots(1, len(shown), squeeze=False)[0]
        for panel, (title, runs) in zip(axes, shown.items(), strict=True):
            for run in runs:
                seconds = curve(run, PANELS[title], rules)
                panel.semilogy(range(1, len(seconds) + 1), seconds, label=run.name, linewidth=1.2)
            panel.set_title(title, fontsize="medium")
            panel.set_xlabel("instances decided")
            panel.grid(alpha=0.3, which="both", linewidth=0.4)
            panel.legend(fontsize="x-small")
        axes[0].set_ylabel(f"seconds for each ({rules.clock})")
        figure.savefig(path, format="svg", metadata={"Date": None})
