"""The tables of the page."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from benchmarks.soundness.running import Row
from benchmarks.vnncomp.runs import read_run
from benchmarks.vnncomp.tables import markdown
from tests.soundness.trials import SUITES

COUNTED = ("verified", "falsified", "unknown", "not taken", "crashed", "wrong", "CPU s")


def _counts(rows: Sequence[Row]) -> list[str]:
    """The cells under COUNTED. Not taken: what a method has no rule for, and files that are refused
    since ONNX Runtime says something else than their meaning in real numbers.
    """
    said = [row.said for row in rows]
    crashed = sum(row.crashed for row in rows)
    return [
        str(said.count("verified")),
        str(said.count("falsified")),
        str(said.count("unknown") - crashed),
        str(said.count("unsupported") + said.count("refused")),
        str(crashed),
        str(sum(row.objection is not None for row in rows)),
        f"{sum(row.seconds for row in rows):.0f}",
    ]


def _questions(rows: Sequence[Row]) -> str:
    return str(len({(row.suite, row.family, row.number) for row in rows}))


def _grouped(rows: Sequence[Row], key: Callable[[Row], str]) -> Iterator[tuple[str, list[Row]]]:
    """In order of first appearance."""
    for name in dict.fromkeys(map(key, rows)):
        yield name, [row for row in rows if key(row) == name]


def suite_table(rows: Sequence[Row]) -> str:
    """A line for each set, and all of them."""
    lines = [
        [f"`{name}`", SUITES[name].claim, _questions(own), str(len(own)), *_counts(own)]
        for name, own in _grouped(rows, lambda row: row.suite)
    ]
    lines.append(["**all**", "", _questions(rows), str(len(rows)), *_counts(rows)])
    return markdown(["set", "what it is", "questions", "asked", *COUNTED], lines)


def family_table(rows: Sequence[Row]) -> str:
    """A line for each family of each set that has several."""
    lines: list[list[str]] = []
    for suite, of_suite in _grouped(rows, lambda row: row.suite):
        families = list(_grouped(of_suite, lambda row: row.family))
        if len(families) > 1:
            lines += [
                [f"`{suite}`", family, _questions(own), str(len(own)), *_counts(own)]
                for family, own in families
            ]
    return markdown(["set", "family", "questions", "asked", *COUNTED], lines)


def method_table(rows: Sequence[Row]) -> str:
    """A line for each method, over all sets."""
    lines = [
        [f"`{method}`", str(len(own)), *_counts(own)]
        for method, own in sorted(_grouped(rows, lambda row: row.method))
    ]
    return markdown(["method", "asked", *COUNTED], lines)


def labelled_table(results: Path) -> str:
    """What a run of `specdsl bench` says of instances whose answer its table knows."""
    run = read_run("specdsl", results)
    labelled = {key: word for key, word in run.expected.items() if word in ("sat", "unsat")}
    said = [run.answers[key].verdict for key in labelled]
    decided = said.count("sat") + said.count("unsat")
    wrong = {key for key, _ in run.wrong([])}
    cells = [len(run.answers), len(labelled), decided, len(wrong)]
    header = ["instances", "of them labelled", "of these decided", "wrong"]
    return markdown(header, [list(map(str, cells))])
