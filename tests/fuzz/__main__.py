"""Fuzzing from the command line: see docs/fuzzing.md.

python -m tests.fuzz                                   all targets, 20,000 runs
python -m tests.fuzz --runs 100000 --seed random       as `make fuzz`
python -m tests.fuzz --targets onnx,spec --runs 1000
python -m tests.fuzz --targets onnx --seed 7 --number 812 --runs 1
python -m tests.fuzz --targets onnx FILE...            given inputs
"""

from __future__ import annotations

import argparse
import json
import secrets
import sys
import time
from pathlib import Path

from tests.fuzz.harness import Found, Report, fuzz, run
from tests.fuzz.target import Target
from tests.fuzz.targets import BY_NAME, TARGETS

SHARES = sum(target.share for target in TARGETS)
FINDINGS = Path("build/fuzz")


def main() -> int:
    """Run what is asked for; 1 where there are findings."""
    given = _arguments()
    targets = [BY_NAME[name] for name in given.targets.split(",")] if given.targets else TARGETS
    seed = secrets.randbelow(2**32) if given.seed == "random" else int(given.seed)
    print(f"seed {seed}", flush=True)
    reports: list[Report] = []
    began = time.monotonic()
    for target in targets:
        report = _run(target, given, seed, sum(t.share for t in targets))
        reports.append(report)
        print(_line(report), flush=True)
        for found in report.found:
            print(_told(found, seed, _saved(found, given.output)), flush=True)
    runs, seconds = sum(r.runs for r in reports), sum(r.seconds for r in reports)
    findings = sum(len(r.found) for r in reports)
    wall = time.monotonic() - began
    print(f"{runs} runs, {seconds:.1f} s of processor time, {wall:.1f} s, {findings} findings")
    if given.json:
        given.json.write_text(json.dumps([_record(r) for r in reports]))
    return 1 if findings else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("files", nargs="*", type=Path, help="run these inputs only")
    parser.add_argument("--targets", help=f"some of {','.join(BY_NAME)}")
    parser.add_argument("--runs", type=int, default=SHARES, help="over all targets together")
    parser.add_argument("--seed", default="0", help="a number, or `random`")
    parser.add_argument("--number", type=int, help="begin with this run of the target")
    parser.add_argument("-o", "--output", type=Path, default=FINDINGS, help="where findings go")
    parser.add_argument("--json", type=Path, help="write the figures here")
    given = parser.parse_args()
    if (given.files or given.number is not None) and given.targets not in BY_NAME:
        parser.error("inputs and --number need one target, by --targets")
    return given


def _run(target: Target, given: argparse.Namespace, seed: int, shares: int) -> Report:
    if given.files:
        inputs = [path.read_bytes() for path in given.files]
        return run(target, inputs.__getitem__, len(inputs))
    runs = -(-given.runs * target.share // shares)
    first = given.number or 0
    return fuzz(target, seed, first + runs, first=first)


def _line(report: Report) -> str:
    rate = report.runs / max(report.seconds, 1e-3)
    refused = 100 * report.refused / max(report.runs, 1)
    return (
        f"{report.target:16} {report.runs:7} runs {report.seconds:6.1f} s {rate:8.0f} a second "
        f"{refused:4.0f} % refused, {len(report.found)} findings"
    )


def _saved(found: Found, folder: Path) -> Path:
    path = folder / found.target / f"{found.finding.digest}{BY_NAME[found.target].suffix}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(found.content)
    return path


def _told(found: Found, seed: int, path: Path) -> str:
    finding = found.finding
    return (
        f"\n{finding.kind}: {finding.key}\n{finding.text.rstrip()}\n"
        f"run {found.number} of `{found.target}` with seed {seed}; its input: {path}\n"
        f"again: python -m tests.fuzz --targets {found.target} {path}\n"
    )


def _record(report: Report) -> dict[str, object]:
    return {
        "target": report.target,
        "runs": report.runs,
        "refused": report.refused,
        "seconds": report.seconds,
        "findings": [f"{f.finding.kind}: {f.finding.key}" for f in report.found],
    }


if __name__ == "__main__":
    sys.exit(main())
