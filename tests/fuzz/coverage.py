"""Fuzzing that keeps the inputs which reach new code: atheris (libFuzzer) on the same targets.

    python -m tests.fuzz.coverage --seconds 600
    python -m tests.fuzz.coverage --seconds 60 --targets onnx,spec

Needs the extra `fuzz`. Inputs that reached something stay in `build/fuzz/reached`, so that the next
run goes on where this one ends. Every target has a process of its own, for libFuzzer ends its own.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path
from random import Random

from tests.fuzz.finding import Finding, outcome_of
from tests.fuzz.harness import sandbox, warm_up
from tests.fuzz.minimise import minimise
from tests.fuzz.target import Target
from tests.fuzz.targets import BY_NAME
from tests.fuzz.watch import PROJECT, Watch, limit_address_space, peak_memory

REACHED = Path("build/fuzz/reached")
FINDINGS = Path("build/fuzz")
# How often libFuzzer's own changes are taken, which know nothing of any structure.
PLAIN = 0.15
MAX_LENGTH = 2**16
# Native code that does not come back; Python code is stopped long before.
TIMEOUT = 60


def main() -> int:
    """All targets, one after another; 1 where there are findings."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.coverage")
    parser.add_argument("--seconds", type=float, required=True, help="for all targets together")
    parser.add_argument("--targets", help=f"some of {','.join(BY_NAME)}")
    parser.add_argument("--one", choices=BY_NAME, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        _explore(BY_NAME[given.one], round(given.seconds))
    chosen = given.targets.split(",") if given.targets else list(BY_NAME)
    seconds = max(1, round(given.seconds / len(chosen)))
    failed = [name for name in chosen if not _run(name, seconds)]
    print(f"{len(chosen)} targets, {seconds} s each; findings in: {', '.join(failed) or 'none'}")
    return 1 if failed else 0


def _run(name: str, seconds: int) -> bool:
    """Whether a target in a process of its own has no findings."""
    before = _findings(name)
    command = [sys.executable, "-m", "tests.fuzz.coverage", "--one", name]
    print(f"{name}: {seconds} s", flush=True)
    ended = subprocess.run([*command, "--seconds", str(seconds)], check=False, cwd=PROJECT)
    return ended.returncode == 0 and _findings(name) == before


def _findings(name: str) -> dict[str, int]:
    """The files of findings with their times."""
    return {p.name: p.stat().st_mtime_ns for p in (PROJECT / FINDINGS / name).glob("*")}


# --- one target, in its own process -------------------------------------------------------------


def _explore(target: Target, seconds: int) -> None:
    """Does not return: libFuzzer ends the process."""
    import atheris

    reached, saved = (PROJECT / REACHED / target.name), (PROJECT / FINDINGS / target.name)
    reached.mkdir(parents=True, exist_ok=True)
    saved.mkdir(parents=True, exist_ok=True)
    seeds = target.seeds()
    with sandbox(target) as folder:
        with atheris.instrument_imports(include=["specdsl"]):
            warm_up(target)
        explorer = _Explorer(target, seeds, folder, saved)
        options = {
            "max_total_time": seconds,
            "max_len": MAX_LENGTH,
            "timeout": TIMEOUT,
            "rss_limit_mb": 0,  # the harness looks at memory itself
            "artifact_prefix": f"{saved}/crash-",
            "print_final_stats": 1,
            "verbosity": 0,
        }
        arguments = [f"-{name}={value}" for name, value in options.items()]
        for number, content in enumerate(seeds):
            (reached / f"seed-{number}").write_bytes(content)
        atheris.Setup(
            [sys.argv[0], *arguments, str(reached)],
            explorer.run,
            custom_mutator=explorer.mutate,
        )
        limit_address_space()
        sys.addaudithook(explorer.watch)
        atheris.Fuzz()


class _Explorer:
    """What libFuzzer calls: one run, one change. Findings are saved, and the search goes on."""

    def __init__(self, target: Target, seeds: tuple[bytes, ...], folder: Path, saved: Path) -> None:
        self.target, self.seeds, self.folder, self.saved = target, seeds, folder, saved
        self.watch = Watch(folder, also=(PROJECT / REACHED, PROJECT / FINDINGS))
        self.known: set[str] = set()
        self.memory = peak_memory()

    def run(self, content: bytes) -> None:
        finding = self._finding(content)
        if finding is None or finding.digest in self.known:
            return
        self.known.add(finding.digest)
        if finding.kind not in ("memory", "hang"):
            content = minimise(content, lambda smaller: self._is(smaller, finding))
        path = self.saved / f"{finding.digest}{self.target.suffix}"
        path.write_bytes(content)
        print(f"{finding.kind}: {finding.key}\n{finding.text}\nits input: {path}", flush=True)
        if finding.kind == "memory":
            os._exit(1)

    def _finding(self, content: bytes) -> Finding | None:
        outcome = outcome_of(self.target, content, self.folder, self.watch, self.memory)
        return outcome.finding

    def _is(self, content: bytes, finding: Finding) -> bool:
        found = self._finding(content)
        return found is not None and found.digest == finding.digest

    def mutate(self, content: bytes, max_size: int, seed: int) -> bytes:
        import atheris

        random = Random(seed)
        if random.random() < PLAIN:
            return atheris.Mutate(content, max_size)
        return self.target.mutate(random, content, self.seeds)[:max_size]


if __name__ == "__main__":
    sys.exit(main())
