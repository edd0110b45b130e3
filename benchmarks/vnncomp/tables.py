"""The tables of the page, in Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median

from benchmarks.vnncomp.runs import OwnRun, Rules, Run


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def family_table(run: OwnRun, references: list[Run], rules: Rules) -> str:
    """What the run came to, family by family, and in all."""
    wrong = {key for key, _ in run.wrong(references)}
    rows: list[list[str]] = []
    for family in [*run.families(), None]:
        keys = [key for key in run.answers if family in (None, key[0])]
        decided = run.decided(rules, family)
        words = [run.answers[key].verdict for key in decided]
        crashed = [k for k in keys if run.answers[k].crashed or run.answers[k].verdict == "error"]
        rows.append(
            [
                family or "**all**",
                str(len(keys)),
                str(len(decided)),
                str(words.count("unsat")),
                str(words.count("sat")),
                str(len(wrong & {*keys})),
                str(len(crashed)),
                _median(run.seconds(decided, rules)),
                _total(run.seconds(decided, rules)),
                _total(run.seconds(keys, rules)),
            ]
        )
    header = ["family", "instances", "decided", "unsat", "sat", "wrong", "errors"]
    return markdown([*header, "median s", "s for the decided", "s in all"], rows)


def reference_table(run: Run, references: list[Run], rules: Rules) -> str:
    """Beside every other tool, on the instances that both were given."""
    rows: list[list[str]] = []
    for family in run.families():
        for reference in references:
            tried = [k for k in reference.answers if k[0] == family and k in run.answers]
            if tried:
                rows.append([family, reference.name, str(len(tried))])
                rows[-1] += _beside(run, reference, [*tried], rules)
    header = ["family", "tool", "instances", "it decides", "specdsl decides", "both"]
    return markdown([*header, "its s on both", "specdsl's", "ratio", "medians"], rows)


def _beside(run: Run, reference: Run, tried: list[tuple[str, str, str]], rules: Rules) -> list[str]:
    theirs = [key for key in tried if rules.decided(reference.answers[key])]
    ours = [key for key in tried if rules.decided(run.answers[key])]
    both = [key for key in theirs if key in ours]
    cells = [str(len(keys)) for keys in (theirs, ours, both)]
    if not both:
        return [*cells, "", "", "", ""]
    its, own = reference.seconds(both, rules), run.seconds(both, rules)
    ratio = f"{sum(own) / sum(its):.2f}"
    return [*cells, _total(its), _total(own), ratio, f"{_median(its)}, {_median(own)}"]


def run_table(runs: Sequence[Run], rules: Rules) -> str:
    """Several runs of ours, such as one with each technique off: what each decides, and in how
    long what all decide.
    """
    common = [key for key in runs[0].answers if all(key in run.answers for run in runs)]
    shared = [key for key in common if all(rules.decided(run.answers[key]) for run in runs)]
    rows: list[list[str]] = []
    for run in runs:
        decided = [key for key in common if rules.decided(run.answers[key])]
        total = sum(run.seconds(shared, rules))
        first = sum(runs[0].seconds(shared, rules))
        ratio = f"{total / first:.2f}" if first else ""
        rows.append([run.name, f"{len(decided)} of {len(common)}", f"{total:.1f}", ratio])
    header = ["run", "decided", f"s for the {len(shared)} that all decide", "ratio"]
    return markdown(header, rows)


def late(run: Run, rules: Rules) -> Iterator[str]:
    """What has a verdict that came too late."""
    for key, answer in run.answers.items():
        if answer.verdict in ("sat", "unsat") and not rules.decided(answer):
            yield f"{' '.join(key)}: {answer.verdict} after {answer.seconds(rules.clock):.1f} s"


def _median(seconds: list[float]) -> str:
    return f"{median(seconds):.2f}" if seconds else ""


def _total(seconds: list[float]) -> str:
    return f"{sum(seconds):.1f}" if seconds else ""
