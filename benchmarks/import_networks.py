"""The table of all networks of the benchmark families: import, agreement, bounds.

    python -m benchmarks.import_networks DATA [-k FAMILY]... [--timeout S] [--memory GiB]

DATA holds `instances.csv` and the folders of the families. Each network is measured in a process of
its own on the box of its first instance. Networks with the same content are measured once.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import resource
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.network_report import METHODS
from specdsl.files import read_bytes

# Seconds and GiB for one network.
TIMEOUT = 600.0
MEMORY = 8.0
HEADER = (
    "| family | network | ONNX ops | nodes in the file | in the graph | after rewrites "
    "| import s | difference | interval s | CROWN s |"
)


@dataclass(frozen=True, slots=True)
class Subject:
    """A network and its first instance."""

    family: str
    network: Path
    query: Path


@dataclass(frozen=True, slots=True)
class Measured:
    """The steps that ran, by name, and how the process ended where it did not end well."""

    subject: Subject
    wanted: tuple[str, ...]
    steps: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    end: str | None = None

    def problems(self) -> Iterator[tuple[str, str]]:
        """Step and reason, for every step that does not work or was not reached."""
        for name in self.wanted:
            if name not in self.steps:
                yield name, self.end or "not reached"
                return
            problem = self.steps[name]["problem"]
            if problem:
                yield name, problem


def subjects(data: Path, families: Sequence[str] = ()) -> list[Subject]:
    """Every distinct network of the instances, in their order; of some families only."""
    with (data / "instances.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    found: dict[str, Subject] = {}
    for row in rows:
        if not families or row["benchmark"] in families:
            subject = Subject(row["benchmark"], data / row["onnx"], data / row["vnnlib"])
            found.setdefault(row["onnx"], subject)
    distinct: dict[bytes, Subject] = {}
    for subject in found.values():
        digest = hashlib.sha256(read_bytes(subject.network)).digest()
        distinct.setdefault(digest, subject)
    return list(distinct.values())


def measure(
    subject: Subject,
    methods: Sequence[str] = METHODS,
    *,
    timeout: float = TIMEOUT,
    memory: float = MEMORY,
) -> Measured:
    """Run all steps in a child with limits: seconds, and GiB of address space."""
    bytes_ = int(memory * 2**30)
    command = [sys.executable, "-m", "benchmarks.network_report"]
    end = None
    try:
        result = subprocess.run(
            [*command, str(subject.network), str(subject.query), *methods],
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            cwd=Path(__file__).parents[1],
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (bytes_, bytes_)),
        )
        output, status = result.stdout, result.returncode
        if status:
            last = result.stderr.strip().splitlines()[-1:] or [f"exit status {status}"]
            end = last[0]
    except subprocess.TimeoutExpired as error:
        output = error.stdout.decode() if isinstance(error.stdout, bytes) else error.stdout or ""
        end = f"more than {timeout:g} s"
    lines = [json.loads(line) for line in output.splitlines() if line.endswith("}")]
    wanted = ("import", "agreement", *methods)
    return Measured(subject, wanted, {line["name"]: line for line in lines}, end)


def row(measured: Measured) -> str:
    """One line of the table."""
    steps, subject = measured.steps, measured.subject
    figures = steps.get("import", {}).get("figures", {})
    cells = [subject.family, subject.network.name.removesuffix(".gz").removesuffix(".onnx")]
    cells += [" ".join(figures.get("ops", []))]
    cells += [str(figures.get(name, "")) for name in ("onnx_nodes", "nodes", "simplified")]
    cells.append(_seconds(steps, "import"))
    difference = steps.get("agreement", {}).get("figures", {}).get("difference")
    cells.append("no" if difference is None else f"{difference:.1e}")
    cells += [_seconds(steps, "interval"), _seconds(steps, "crown")]
    return f"| {' | '.join(cells)} |"


def _seconds(steps: Mapping[str, Mapping[str, Any]], name: str) -> str:
    step = steps.get(name)
    return "no" if step is None or step["problem"] else f"{step['seconds']:.2f}"


def main() -> None:
    """Print the table, then what does not work."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("data", type=Path)
    parser.add_argument("-k", dest="families", action="append", default=[])
    parser.add_argument("--timeout", type=float, default=TIMEOUT)
    parser.add_argument("--memory", type=float, default=MEMORY)
    options = parser.parse_args()
    write = sys.stdout.write
    write(f"{HEADER}\n|{' --- |' * (HEADER.count('|') - 1)}\n")
    failed: list[str] = []
    for subject in subjects(options.data, options.families):
        measured = measure(subject, timeout=options.timeout, memory=options.memory)
        write(row(measured) + "\n")
        sys.stdout.flush()
        title = f"{subject.family}/{subject.network.name}"
        failed += [f"- {title}: {step}: {problem}" for step, problem in measured.problems()]
    write("\nWhat does not work:\n\n" + ("\n".join(failed) or "nothing") + "\n")


if __name__ == "__main__":
    main()
