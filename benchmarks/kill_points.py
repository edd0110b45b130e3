"""What a run loses when it is killed, and whether it comes to the same in the end.

    python -m benchmarks.kill_points SPEC [-D name=value]... [--points 200] [--seed 0]
        [--using BACKEND] [--timeout 30] [--jobs 1] [-o FILE.jsonl]

`specdsl check` is run once without being disturbed. Then it is killed (`kill -9`) at a random
moment and started again with the same store, until it comes to its end, over and over until it has
been killed at so many points. After each kill every row of the store must be whole, and nothing
that was there before may be missing; at each end every verdict must be that of the run without
kills, and what was kept must not have been asked again. Printed: what was spent since the last
answer that was kept when the kill came, which is the work that was lost, start-up included: in
seconds, of which a busy machine takes its share, and in processor seconds. Ends with 1 where
something is not as it must be. Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from specdsl.run.store.database import FILE, Damaged, Database

LOOK = 0.05
"""Seconds between looks at what has been kept."""

EARLIEST = 0.05
"""Seconds after its start in which no process is killed: it would not have begun."""

Verdicts = dict[str, str]


@dataclass(frozen=True, slots=True)
class Point:
    """One kill. `after`: seconds since the start of its process; `kept`: answers by then, `fresh`
    of them by this process; `lost`: seconds since the last of these, or since the start, and
    `lost_cpu` processor seconds of the process and its workers.
    """

    after: float
    kept: int
    fresh: int
    lost: float
    lost_cpu: float


@dataclass(slots=True)
class Findings:
    """All kills, the ends they led to, and what was not as it must be."""

    points: list[Point] = field(default_factory=list[Point])
    ends: int = 0
    identical: int = 0
    wrong: list[str] = field(default_factory=list[str])


@dataclass(frozen=True, slots=True)
class Killer:
    """How `specdsl check` is run: its arguments, and with what it is killed."""

    command: Sequence[str]
    draw: random.Random

    def undisturbed(self, cache: Path) -> tuple[dict[str, Any], float]:
        """(the report, seconds it took)."""
        start = time.monotonic()
        process = self._start(cache)
        process.wait()
        return _report(cache), time.monotonic() - start

    def until_the_end(self, cache: Path, longest: float, findings: Findings, points: int) -> Any:
        """Kill until a process comes to its end, and give its report; None once it is enough."""
        before: set[str] = set()
        while len(findings.points) < points:
            began = time.time()
            process = self._start(cache)
            spent = _watched(process, cache, began + self.draw.uniform(EARLIEST, longest))
            if spent is None:
                return _report(cache)
            process.kill()
            killed = time.time()
            process.wait()
            made, damaged = _made(cache)
            findings.wrong += damaged
            if before - made.keys():
                findings.wrong.append(f"{len(before - made.keys())} answers are missing")
            last = max((t for key, t in made.items() if key not in before), default=began)
            fresh = len(made.keys() - before)
            lost = killed - last
            findings.points.append(Point(killed - began, len(made), fresh, lost, spent))
            before = set(made)
        return None

    def _start(self, cache: Path) -> subprocess.Popen[bytes]:
        report = ("--output-format", "json", "--output-file", str(_report_file(cache)))
        return subprocess.Popen(
            [*self.command, "--cache-dir", str(cache), *report],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )


def _report_file(cache: Path) -> Path:
    return cache.with_suffix(".json")


def _report(cache: Path) -> dict[str, Any]:
    return json.loads(_report_file(cache).read_text())


def _watched(process: subprocess.Popen[bytes], cache: Path, until: float) -> float | None:
    """Wait until then; processor seconds since an answer was kept, None where the process ends."""
    kept, at_last = 0, 0.0
    spent = 0.0
    while time.time() < until:
        if process.poll() is not None:
            return None
        spent = _processor_seconds(process.pid)
        now = _count(cache)
        if now != kept:
            kept, at_last = now, spent
        time.sleep(LOOK)
    return max(0.0, spent - at_last)


def _count(cache: Path) -> int:
    """How many answers are kept."""
    if not (cache / FILE).exists():
        return 0
    with closing(sqlite3.connect(cache / FILE)) as database:
        try:
            return database.execute("SELECT count(*) FROM answers").fetchone()[0]
        except sqlite3.OperationalError:
            # Just being made.
            return 0


def _processor_seconds(pid: int) -> float:
    """Of a process and those it has started."""
    ticks = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if folder.name == str(pid) or fields[1] == str(pid):
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def _made(cache: Path) -> tuple[dict[str, float], list[str]]:
    """(when each answer was kept, by its key; what is damaged)."""
    if not (cache / FILE).exists():
        return {}, []
    with Database(cache).closing() as database:
        rows = list(database.rows())
    damaged = [str(row) for row in rows if isinstance(row, Damaged)]
    return {row.key.text: row.made for row in rows if not isinstance(row, Damaged)}, damaged


def verdicts(report: dict[str, Any]) -> Verdicts:
    """By id."""
    return {result["id"]: result["verdict"] for result in report["results"]}


def findings_of(killer: Killer, points: int) -> Findings:
    """What came of so many kills."""
    found = Findings()
    with tempfile.TemporaryDirectory() as folder:
        reference, longest = killer.undisturbed(Path(folder) / "reference")
        _tell(f"without kills: {longest:.1f} s, {reference['summary']}")
        number = 0
        while len(found.points) < points:
            number += 1
            cache, earlier = Path(folder) / str(number), len(found.points)
            report = killer.until_the_end(cache, longest, found, points)
            if report is not None:
                # Of this store: one that no kill came to has kept nothing before its end.
                own = found.points[earlier:]
                _compare(reference, report, found, kept=own[-1].kept if own else 0)
                _tell(f"{len(found.points)} kills, {found.ends} ends, {len(found.wrong)} wrong")
    return found


def _compare(
    reference: dict[str, Any], report: dict[str, Any], found: Findings, *, kept: int
) -> None:
    """`kept`: answers that were there before the run that came to the end."""
    found.ends += 1
    expected, got = verdicts(reference), verdicts(report)
    found.wrong += [
        f"{id}: {got.get(id)} instead of {verdict}"
        for id, verdict in expected.items()
        if got.get(id) != verdict
    ]
    cached = sum(result["cached"] for result in report["results"])
    if cached < kept:
        found.wrong.append(f"{kept} answers were kept, and {cached} used")
    found.identical += _bare(reference) == _bare(report)


def _bare(report: dict[str, Any]) -> list[dict[str, Any]]:
    """Results without what differs from run to run."""
    aside = {"cached", "seconds", "statistics"}
    return [{k: v for k, v in r.items() if k not in aside} for r in report["results"]]


def summary(found: Findings) -> str:
    """What was lost, and what was wrong."""
    lost = sorted(point.lost for point in found.points)
    spent = sorted(point.lost_cpu for point in found.points)
    fresh = sum(point.fresh > 0 for point in found.points)
    lines = [
        f"{len(lost)} kills, {fresh} of them after an answer; {found.ends} runs to the end",
        f"lost: {lost[len(lost) // 2]:.2f} s in the middle, at most {lost[-1]:.2f} s",
        f"of the processor: {spent[len(spent) // 2]:.2f} s, at most {spent[-1]:.2f} s",
        f"reports identical to that without kills: {found.identical} of {found.ends}",
        *(found.wrong or ["every verdict as without kills, every answer there and whole"]),
    ]
    return "\n".join(lines)


def _tell(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def command_of(options: argparse.Namespace) -> list[str]:
    """The run that is killed."""
    command = [sys.executable, "-m", "specdsl.cli", "check", str(options.spec)]
    command += [part for value in options.parameters for part in ("-D", value)]
    command += [] if options.using is None else ["--using", options.using]
    return [*command, "--timeout", str(options.timeout), "--jobs", str(options.jobs)]


def main() -> int:
    """Print what came of it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("spec", type=Path)
    parser.add_argument("-D", dest="parameters", action="append", default=[])
    parser.add_argument("--points", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--using")
    parser.add_argument("--timeout", type=float, default=30.0)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("-o", dest="output", type=Path)
    options = parser.parse_args()
    if options.output is not None:
        options.output.parent.mkdir(parents=True, exist_ok=True)
    killer = Killer(command_of(options), random.Random(options.seed))
    found = findings_of(killer, options.points)
    if options.output is not None:
        lines = [json.dumps(asdict(point)) for point in found.points]
        options.output.write_text("\n".join(lines) + "\n")
    _tell(summary(found))
    return 1 if found.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
