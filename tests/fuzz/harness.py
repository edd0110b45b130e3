"""Many mutated inputs through one target, in a process of its own that is watched.

Input `number` of a target is a function of the seed alone, so that a run is repeated by naming it.
The process that runs them is forked after every input to begin with has been read: modules are
loaded then, and what is opened later is opened because of an input. It notes which input it is at
before it runs it, so that its parent knows what killed it, or kept it from going on.
"""

from __future__ import annotations

import base64
import faulthandler
import json
import mmap
import os
import select
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import NoReturn

from tests.fuzz.finding import Finding, clipped, outcome_of
from tests.fuzz.minimise import minimise
from tests.fuzz.target import Target
from tests.fuzz.watch import Watch, limit_address_space, peak_memory

# Without any progress: a native loop cannot be stopped from within, and waiting takes no time.
MAX_WAIT = 60
# Different findings of one target after which it is given up.
MAX_FINDINGS = 10
STDERR = 2

Make = Callable[[int], bytes]


@dataclass(frozen=True, slots=True)
class Found:
    """A finding with its input, made as small as could be; `number` is that of the run."""

    target: str
    finding: Finding
    content: bytes
    number: int


@dataclass(slots=True)
class Report:
    """What a target came to. `repeated`: runs that ended in a finding that was there already."""

    target: str
    runs: int = 0
    refused: int = 0
    repeated: int = 0
    seconds: float = 0.0
    found: list[Found] = field(default_factory=list[Found])


def generated(target: Target, seeds: tuple[bytes, ...], seed: int, number: int) -> bytes:
    """Input `number`; the first ones are those to begin with, unchanged."""
    if number < len(seeds):
        return seeds[number]
    random = Random(f"{seed} {target.name} {number}")
    return target.mutate(random, random.choice(seeds), seeds)


def fuzz(target: Target, seed: int, runs: int, *, first: int = 0) -> Report:
    """Run the inputs `first` to `runs`."""
    seeds = target.seeds()

    def make(number: int) -> bytes:
        return generated(target, seeds, seed, first + number)

    return run(target, make, runs - first, minimal=True)


def run(target: Target, make: Make, runs: int, *, minimal: bool = False) -> Report:
    """Run the inputs that `make` gives for 0 to `runs`; with `minimal`, make findings smaller."""
    report = Report(target.name)
    start = 0
    with sandbox(target) as folder, mmap.mmap(-1, _Progress.SIZE) as shared:
        warm_up(target)
        progress = _Progress(shared)
        while start < runs and len(report.found) < MAX_FINDINGS:
            progress.set(start, 0, 0)
            worker = _Worker(target, make, folder, progress, report, minimal)
            began = os.times().children_user + os.times().children_system
            killed_by = _supervised(worker, range(start, runs))
            report.seconds += os.times().children_user + os.times().children_system - began
            number, refused, repeated = progress.get()
            report.refused += refused
            report.repeated += repeated
            start = number + 1
            if killed_by is not None:
                report.found.append(Found(target.name, killed_by, make(number), number))
    report.runs = start
    return report


def warm_up(target: Target) -> None:
    """Read every good input once, so that all modules and caches are there."""
    for content in target.corpus():
        # What is wrong with it comes up in the runs, which begin with these inputs.
        with suppress(Exception):
            target.run(content, Path.cwd())


@contextmanager
def sandbox(target: Target) -> Generator[Path]:
    """The folder that a target may read, as the working directory.

    Beside it lies a FIFO: native code that opens what it should not waits there, and is noticed.
    """
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as outside:
        os.mkfifo(Path(outside) / "secret")
        folder = Path(outside) / "inside"
        folder.mkdir()
        target.prepare(folder)
        os.chdir(folder)
        try:
            yield folder
        finally:
            os.chdir(before)


class _Progress:
    """Numbers in memory that two processes share: the run, how many were refused and repeated."""

    SIZE = 3 * 8

    def __init__(self, shared: mmap.mmap) -> None:
        self.shared = shared

    def set(self, *numbers: int) -> None:
        self.shared[:] = b"".join(n.to_bytes(8, "little") for n in numbers)

    def get(self) -> tuple[int, int, int]:
        number, refused, repeated = (
            int.from_bytes(self.shared[i : i + 8], "little") for i in range(0, self.SIZE, 8)
        )
        return number, refused, repeated


# --- the parent ---------------------------------------------------------------------------------


def _supervised(worker: _Worker, numbers: range) -> Finding | None:
    """Let a child run; take in what it finds. What ended it, where that was not itself."""
    read, write = os.pipe()
    with tempfile.TemporaryFile() as errors:
        child = os.fork()
        if child == 0:
            os.close(read)
            os.dup2(errors.fileno(), STDERR)
            faulthandler.enable(STDERR)
            worker.run(numbers, write)
        os.close(write)
        hung = _listen(read, child, worker)
        _, status = os.waitpid(child, 0)
        if hung:
            return Finding("hang", "no progress", f"no progress in {MAX_WAIT} s")
        if status == 0:
            return None
        ending = f"signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else f"status {status}"
        errors.seek(0)
        said = clipped(errors.read().decode(errors="replace"))
        return Finding("crash", ending, f"the process ended with {ending}\n{said}")


def _listen(read: int, child: int, worker: _Worker) -> bool:
    """Take in findings until the child ends; True where it had to be killed."""
    seen, since, hung = worker.progress.get(), time.monotonic(), False
    with os.fdopen(read, "rb", buffering=0) as pipe:
        buffer = b""
        while True:
            ready, _, _ = select.select([pipe], [], [], 1.0)
            now = worker.progress.get()
            if now != seen or ready:
                seen, since = now, time.monotonic()
            elif time.monotonic() - since > MAX_WAIT:
                hung = True
                os.kill(child, signal.SIGKILL)
            if ready:
                piece = pipe.read(2**16)
                if not piece:
                    return hung
                *lines, buffer = (buffer + piece).split(b"\n")
                worker.report.found += map(worker.decode, lines)


# --- the child ----------------------------------------------------------------------------------


@dataclass(slots=True)
class _Worker:
    """Runs inputs one after another. What stands in `report` when it is forked is known to it."""

    target: Target
    make: Make
    folder: Path
    progress: _Progress
    report: Report
    minimal: bool

    def run(self, numbers: range, write: int) -> NoReturn:
        """Run the inputs and end the process: with 0, or 1 where the harness itself is wrong."""
        try:
            self._run(numbers, write)
        except BaseException:  # noqa: BLE001 - a forked process must not return
            traceback.print_exc()
            os._exit(1)
        os._exit(0)

    def _run(self, numbers: range, write: int) -> None:
        sys.dont_write_bytecode = True
        limit_address_space()
        watch = Watch(self.folder)
        sys.addaudithook(watch)
        memory = peak_memory()
        known = {(f.finding.kind, f.finding.key) for f in self.report.found}
        refused = repeated = 0
        for number in numbers:
            self.progress.set(number, refused, repeated)
            content = self.make(number)
            outcome = outcome_of(self.target, content, self.folder, watch, memory)
            refused += outcome.refused
            found = outcome.finding
            if found is None:
                continue
            if (found.kind, found.key) in known:
                repeated += 1
                continue
            known.add((found.kind, found.key))
            if self.minimal and found.kind not in ("memory", "hang"):
                content = minimise(content, self._fails(found, watch, memory))
            os.write(write, self._encode(Found(self.target.name, found, content, number)))
            if found.kind == "memory" or len(known) >= MAX_FINDINGS:
                # The peak stays: the next process begins anew.
                break
        self.progress.set(number, refused, repeated)

    def _fails(self, found: Finding, watch: Watch, memory: int) -> Callable[[bytes], bool]:
        def fails(content: bytes) -> bool:
            again = outcome_of(self.target, content, self.folder, watch, memory).finding
            return again is not None and (again.kind, again.key) == (found.kind, found.key)

        return fails

    @staticmethod
    def _encode(found: Found) -> bytes:
        finding = found.finding
        content = base64.b64encode(found.content).decode()
        record = [finding.kind, finding.key, finding.text, content, found.number]
        return json.dumps(record).encode() + b"\n"

    def decode(self, line: bytes) -> Found:
        """What `_encode` wrote."""
        kind, key, text, content, number = json.loads(line)
        finding = Finding(kind, key, text)
        return Found(self.target.name, finding, base64.b64decode(content), number)
