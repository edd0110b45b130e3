"""The page's table and its picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import mean, median

from benchmarks.relaxations.asking import Row
from benchmarks.vnncomp.tables import markdown

HEAD = ["network", "trained", "method", "error at least", "at most", "mean s", "median s"]


def groups(rows: Sequence[Row]) -> dict[tuple[str, str], dict[str, list[Row]]]:
    """By network, then by method, both in the order of the rows."""
    found: dict[tuple[str, str], dict[str, list[Row]]] = {}
    for row in rows:
        found.setdefault((row.setting, row.trained), {}).setdefault(row.method, []).append(row)
    return found


def table(rows: Sequence[Row]) -> str:
    """A line for each method on each network. Errors in percent of the images."""
    lines: list[list[str]] = []
    for (setting, by), methods in groups(rows).items():
        for method, own in methods.items():
            seconds = [row.seconds for row in own]
            figures = [f"{mean(seconds):.2f}", f"{median(seconds):.2f}"]
            lines.append([setting, by, method, *_errors(method, own), *figures])
    return markdown(HEAD, lines)


def _errors(method: str, rows: Sequence[Row]) -> list[str]:
    least, most = at_least(rows), at_most(rows)
    return [
        f"{least:.0f}" if method in ("PGD", "MILP") else "",
        "" if method == "PGD" else f"{most:.0f}",
    ]


def at_least(rows: Sequence[Row]) -> float:
    """Percent that have a counterexample."""
    return 100 * sum(row.verdict == "falsified" for row in rows) / len(rows)


def at_most(rows: Sequence[Row]) -> float:
    """Percent that are not proven."""
    return 100 * sum(row.verdict != "verified" for row in rows) / len(rows)


def draw(rows: Sequence[Row], path: Path) -> None:
    """A panel for each network: how much error each method leaves, by its seconds."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    found = groups(rows)
    settings = list(dict.fromkeys(setting for setting, _ in found))
    trained = list(dict.fromkeys(by for _, by in found))
    with rc_context({"svg.hashsalt": "specdsl", "svg.fonttype": "none"}):
        size = (3.4 * len(trained), 2.9 * len(settings))
        figure = Figure(figsize=size, layout="constrained")
        panels = figure.subplots(len(settings), len(trained), sharey=True, squeeze=False)
        for i, setting in enumerate(settings):
            for j, by in enumerate(trained):
                panel = panels[i][j]
                panel.set_title(f"{setting}\n{by}", fontsize="small")
                methods = found.get((setting, by), {})
                for k, (method, own) in enumerate(methods.items()):
                    if method == "PGD":
                        panel.axhline(at_least(own), color="black", linestyle=":", label="PGD")
                        continue
                    place = [max(mean(row.seconds for row in own), 1e-3)], [at_most(own)]
                    panel.plot(*place, "o", color=f"C{k}", label=method)
                panel.set_xscale("log")
                panel.set_ylim(-3, 103)
                panel.grid(alpha=0.3, linewidth=0.4)
                if i == len(settings) - 1:
                    panel.set_xlabel("CPU seconds an image")
            panels[i][0].set_ylabel("error at most, %")
            panels[i][-1].legend(fontsize="x-small", loc="upper left", bbox_to_anchor=(1.0, 1.0))
        figure.savefig(path, format="svg", metadata={"Date": None})
