"""Deciding instances in a process each: measured from outside, and ended where limits are not kept.

The child is `specdsl solve`, so that what is measured is what a user waits for, start-up included.
POSIX only.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Generator, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from specdsl.run.instances.outcome import VERDICTS, Instance, Outcome

GRACE = 5.0
"""Seconds beyond the limit, in which a method that looks at the clock now and then can still say
how far it came. Who decides later than the limit has still not kept it: `seconds` tells."""

PAUSE = 0.005
"""Seconds between looks at the children; what the wall clock may be off by."""

MIB_PER_UNIT = 2**-20 if sys.platform == "darwin" else 2**-10
"""`ru_maxrss` counts in bytes on macOS, in KiB elsewhere."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one process may take. `memory` in GiB of address space."""

    seconds: float
    memory: float | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """An instance, and who is to decide it within what."""

    instance: Instance
    limits: Limits
    using: str
    seed: int | None = None
    device: str = "cpu"

    def command(self, folder: Path) -> list[str]:
        """What is run; it leaves its result and its record in the folder."""
        limits = self.limits
        command = [sys.executable, "-m", "specdsl.cli", "solve"]
        command += [str(self.instance.network), str(self.instance.query), "--using", self.using]
        command += ["--timeout", repr(limits.seconds), "--device", self.device]
        command += [] if limits.memory is None else ["--memory", repr(limits.memory)]
        command += [] if self.seed is None else ["--seed", str(self.seed)]
        return [*command, "--results", str(folder / "results"), "--record", str(folder / "record")]


def solve_isolated(questions: Iterable[Question], jobs: int) -> Generator[tuple[Question, Outcome]]:
    """Each with its outcome as it ends, `jobs` at a time. Leaving the loop ends what still runs."""
    waiting, running = deque(questions), list[_Child]()
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                running.append(_Child(waiting.popleft()))
            time.sleep(PAUSE)
            ended = [(child, child.poll()) for child in running]
            running = [child for child, outcome in ended if outcome is None]
            yield from ((c.question, outcome) for c, outcome in ended if outcome is not None)
    finally:
        for child in running:
            child.kill()


class _Child:
    """One running process."""

    def __init__(self, question: Question) -> None:
        self.question = question
        self._folder = tempfile.TemporaryDirectory()
        folder = Path(self._folder.name)
        self._start = time.monotonic()
        self._killed = False
        with (folder / "errors").open("wb") as errors:
            self._process = subprocess.Popen(
                question.command(folder),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                start_new_session=True,
            )

    def poll(self) -> Outcome | None:
        """The outcome where the process has ended; ends it where its time is long over."""
        pid, status, usage = os.wait4(self._process.pid, os.WNOHANG)
        seconds = time.monotonic() - self._start
        if pid == 0:
            if seconds > self.question.limits.seconds + GRACE and not self._killed:
                self._killed = True
                os.killpg(self._process.pid, signal.SIGKILL)
            return None
        # Popen would otherwise look for the process once more.
        self._process.returncode = os.waitstatus_to_exitcode(status)
        outcome = self._outcome(seconds)
        self._folder.cleanup()
        start_up = max(0.0, seconds - outcome.seconds)
        return replace(
            outcome,
            seconds=seconds,
            cpu_seconds=usage.ru_utime + usage.ru_stime,
            peak_mib=usage.ru_maxrss * MIB_PER_UNIT,
            statistics={"process_seconds": start_up, **outcome.statistics},
        )

    def kill(self) -> None:
        """End the process, and wait until it has."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._folder.cleanup()

    def _outcome(self, seconds: float) -> Outcome:
        """What the process said, or what became of it."""
        if self._killed:
            limit = self.question.limits.seconds
            reason = f"timeout after {limit:g} s, killed {GRACE:g} s later"
            return Outcome("timeout", seconds, "killed", reason=reason)
        folder = Path(self._folder.name)
        record = folder / "record"
        if not record.exists():
            return Outcome("error", seconds, "crash", reason=self._end(folder / "errors"))
        return _read_outcome(json.loads(record.read_text()), folder / "results")

    def _end(self, errors: Path) -> str:
        """Why a process left no record: its signal, or the last error that it told."""
        code = self._process.returncode
        if code < 0:
            return f"ended by {signal.Signals(-code).name}"
        lines = errors.read_text(errors="replace").splitlines()
        told = next((line.strip() for line in reversed(lines) if "rror: " in line), "no message")
        return f"exit status {code}: {told}"


def _read_outcome(record: dict[str, Any], results: Path) -> Outcome:
    """The outcome that `solve` left behind."""
    verdict = VERDICTS[record["verdict"]]
    witness = results.read_text().partition("\n")[2].rstrip() if verdict == "sat" else None
    return Outcome(
        verdict,
        record["seconds"],
        record["method"],
        witness,
        record["reason"],
        record["bound"],
        statistics={k: v for k, v in record["statistics"].items() if v is not None},
    )
