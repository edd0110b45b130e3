"""Runs over instances: our own, and those of the other tools in a table of references."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from specdsl.run.instances.outcome import Key
from specdsl.run.instances.results import read_records

Clock = Literal["wall", "cpu"]

CRASH = "solver crashed"
"""How the reason of an `unknown` begins where the solver raised."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One instance: the verdict, and seconds by both clocks."""

    verdict: str
    wall: float
    cpu: float | None
    limit: float
    crashed: bool = False

    def seconds(self, clock: Clock) -> float:
        """By one clock. Raises ValueError where it was not read."""
        if clock == "wall":
            return self.wall
        if self.cpu is None:
            raise ValueError("the run holds no CPU seconds; use --clock wall")
        return self.cpu


@dataclass(frozen=True, slots=True)
class Rules:
    """When an instance counts as decided, the same for everyone: in so many seconds by a clock."""

    limit: float
    clock: Clock

    def decided(self, answer: Answer | None) -> bool:
        """Whether there is a verdict, in time."""
        return (
            answer is not None
            and answer.verdict in ("sat", "unsat")
            and answer.seconds(self.clock) <= self.limit
        )


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """The answers of one tool in one configuration, in the order they were given."""

    name: str
    answers: Mapping[Key, Answer]

    def families(self) -> list[str]:
        """In order of first appearance."""
        return list(dict.fromkeys(key[0] for key in self.answers))

    def decided(self, rules: Rules, family: str | None = None) -> list[Key]:
        """What it decided, of one family or of all."""
        return [
            key
            for key, answer in self.answers.items()
            if family in (None, key[0]) and rules.decided(answer)
        ]

    def seconds(self, keys: list[Key], rules: Rules) -> list[float]:
        """Of these instances, in their order."""
        return [self.answers[key].seconds(rules.clock) for key in keys]


@dataclass(frozen=True, slots=True, eq=False)
class OwnRun(Run):
    """A run of ours, and the verdicts that its table trusted."""

    expected: Mapping[Key, str]

    def wrong(self, references: list[Run]) -> list[tuple[Key, str]]:
        """What contradicts the table, or another tool, whatever the time: who says otherwise."""
        found: list[tuple[Key, str]] = []
        for key, answer in self.answers.items():
            others = {"the table": self.expected.get(key, "")}
            others |= {r.name: r.answers[key].verdict for r in references if key in r.answers}
            found += [
                (key, name)
                for name, verdict in others.items()
                if {verdict, answer.verdict} == {"sat", "unsat"}
            ]
        return found


def read_run(name: str, path: Path) -> OwnRun:
    """A results file of `specdsl bench`. Raises SpecError E05xx, E0857."""
    answers: dict[Key, Answer] = {}
    expected: dict[Key, str] = {}
    for record in read_records(path):
        key = (record["benchmark"], record["onnx"], record["vnnlib"])
        answers[key] = _own_answer(record)
        expected[key] = record["expected"] or ""
    return OwnRun(name, answers, expected)


def _own_answer(record: Mapping[str, Any]) -> Answer:
    return Answer(
        record["verdict"],
        record["seconds"],
        record["cpu_seconds"],
        record["limit"],
        crashed=(record["reason"] or "").startswith(CRASH),
    )


def read_references(path: Path) -> list[Run]:
    """A run for each tool and configuration of a table with the columns `benchmark`, `onnx`,
    `vnnlib`, `tool`, `configuration`, `limit_s`, `verdict`, `wall_s` and `cpu_s`.
    """
    found: dict[str, dict[Key, Answer]] = {}
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            plain = row["configuration"] == "default"
            name = row["tool"] if plain else f"{row['tool']}, {row['configuration']}"
            cpu = float(row["cpu_s"]) if row["cpu_s"] else None
            answer = Answer(row["verdict"], float(row["wall_s"]), cpu, float(row["limit_s"]))
            key = (row["benchmark"], row["onnx"], row["vnnlib"])
            found.setdefault(name, {})[key] = answer
    return [Run(name, answers) for name, answers in found.items()]
