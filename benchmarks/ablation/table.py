"""The table of what each technique is worth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from benchmarks.ablation.techniques import ALL, Technique
from benchmarks.vnncomp.runs import OwnRun, Rules
from benchmarks.vnncomp.tables import markdown

PART = "ablation"
"""The mark of the table on a page."""


def ablation_table(runs: Mapping[Technique, OwnRun], limit: float) -> str:
    """A row for each technique: how many of its instances are decided with it and without, which
    families lose or win, and processor seconds of those that both decide.
    """
    rules, full = Rules(limit, "cpu"), runs[ALL]
    rows: list[list[str]] = []
    for technique, run in runs.items():
        if technique is ALL:
            continue
        keys = [key for key in run.answers if key in full.answers]
        with_it = {key for key in keys if rules.decided(full.answers[key])}
        without = {key for key in keys if rules.decided(run.answers[key])}
        both = [key for key in keys if key in with_it & without]
        first, second = (sum(r.seconds(both, rules)) for r in (full, run))
        rows.append(
            [
                technique.doc,
                f"`{technique.without}`",
                str(len(keys)),
                str(len(with_it)),
                str(len(without)),
                _families(with_it - without),
                _families(without - with_it),
                f"{first:.1f}",
                f"{second:.1f}",
                f"{second / first:.2f}" if first else "",
            ]
        )
    header = ["technique", "left out by", "instances", "decided with it", "without", "lost", "won"]
    return markdown([*header, "s on both with it", "without", "ratio"], rows)


def _families(keys: set[tuple[str, str, str]]) -> str:
    counts = Counter(key[0] for key in keys)
    return ", ".join(f"{name} {counts[name]}" for name in sorted(counts))
