"""The demonstration of `make demo`: check specs/digits.spec and keep the report in build/.

Some of its properties hold and some do not, on purpose: the table at the end shows proofs and
counterexamples side by side.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import specdsl
from specdsl.cli.progress import progress
from specdsl.report import console, document

# Relative to where this runs, so that the report names files as people type them.
ROOT = Path(os.path.relpath(Path(__file__).resolve().parents[1]))
SPEC = ROOT / "specs" / "digits.spec"
BUILD = ROOT / "build"


def main() -> int:
    """Check the spec, write build/report.json and build/report.txt, show the table."""
    specification = specdsl.load(SPEC)
    with progress() as observer:
        report = specification.check(observer=observer)
    BUILD.mkdir(exist_ok=True)
    (BUILD / "report.json").write_text(document.to_json([report]) + "\n", encoding="utf-8")
    (BUILD / "report.txt").write_text(console.to_text([report]), encoding="utf-8")
    console.write([report], sys.stdout)
    print(f"\nreport: {BUILD / 'report.txt'} and {BUILD / 'report.json'}")
    counts = report.counts
    if counts["verified"] and counts["falsified"] and not report.diagnostics:
        return 0
    print("the demo should show a proof and a counterexample, and does not", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
