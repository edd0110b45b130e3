"""What certificates cost: their size, the time and the memory of the checker, instance by instance.

    python -m benchmarks.certificates INSTANCES.csv RESULTS.jsonl [-k EXPR] [--timeout 60]
        [--semantics real] [-o build/certificates.jsonl]

Of the instances that a run of `specdsl bench -o RESULTS.jsonl` says `unsat` of: each is solved
again by `specdsl solve --certificate`, and the file is checked by `specdsl audit`, both in
processes of their own. A row is kept as soon as it is known, and not made again. Printed, by
family: how many have a certificate, and of these the seconds of checking over those of solving, a
leaf's milliseconds and KiB, and the memory of the checker; then why the others have none.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from specdsl.proof.container import LENGTH_BYTES, MAGIC
from specdsl.run.instances.outcome import Instance
from specdsl.run.instances.tables import read_instances
from specdsl.run.selection import parse_selection

SPECDSL = (sys.executable, "-m", "specdsl.cli")


@dataclass(frozen=True, slots=True)
class Row:
    """`solving`: seconds until the method said so; `making`: from there to a certificate that was
    accepted; `checking`: of its file alone, whose size is `kib`, `proof_kib` of it without the
    network; `peak_mib`: of the process that checked it. `reason`: why there is none.
    """

    benchmark: str
    onnx: str
    vnnlib: str
    semantics: str
    verdict: str
    reason: str | None
    solving: float = 0.0
    making: float = 0.0
    checking: float = 0.0
    leaves: int = 0
    kib: float = 0.0
    proof_kib: float = 0.0
    peak_mib: float = 0.0


def main() -> int:
    """Make what is not there yet, and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("instances", type=Path)
    parser.add_argument("results", type=Path)
    parser.add_argument("-k", dest="selection")
    parser.add_argument("--timeout", type=float, default=60.0)
    parser.add_argument("--semantics", default="real")
    parser.add_argument("-o", "--output", type=Path, default=Path("build/certificates.jsonl"))
    given = parser.parse_args()
    lines = given.results.read_text().splitlines()
    held = {(r["onnx"], r["vnnlib"]) for r in map(json.loads, lines) if r["verdict"] == "unsat"}
    selection = None if given.selection is None else parse_selection(given.selection)
    chosen = [
        row
        for row in read_instances(given.instances)
        if (row.onnx, row.vnnlib) in held
        and (selection is None or selection.matches(" ".join(row.key)))
    ]
    rows = list(_rows(chosen, given.semantics, given.timeout, given.output))
    sys.stdout.write(table(rows))
    return 0


def _rows(
    instances: Sequence[Instance], semantics: str, timeout: float, output: Path
) -> Iterator[Row]:
    output.parent.mkdir(parents=True, exist_ok=True)
    lines = output.read_text().splitlines() if output.exists() else []
    known = {(r.onnx, r.vnnlib, r.semantics): r for r in (Row(**json.loads(x)) for x in lines)}
    with output.open("a") as file:
        for instance in instances:
            key = (instance.onnx, instance.vnnlib, semantics)
            if key not in known:
                known[key] = _row(instance, semantics, timeout)
                file.write(json.dumps(asdict(known[key])) + "\n")
                file.flush()
                sys.stderr.write(f"{known[key]}\n")
            yield known[key]


def _row(instance: Instance, semantics: str, timeout: float) -> Row:
    with tempfile.TemporaryDirectory() as name:
        file, record = Path(name) / "it.sdcert", Path(name) / "it.json"
        options = ["--certificate", file, "--semantics", semantics, "--record", record]
        limit = ["--timeout", str(timeout)]
        asked = [*SPECDSL, "solve", instance.network, instance.query, *options, *limit]
        subprocess.run(asked, check=False, capture_output=True)
        said = json.loads(record.read_text())
        about = (instance.benchmark, instance.onnx, instance.vnnlib, semantics)
        if said["verdict"] != "unsat" or not file.exists():
            return Row(*about, said["verdict"], said["reason"])
        seconds = said["statistics"]
        audit = [*SPECDSL, "audit", str(file), "--output-format", "json"]
        # The peak of a child, by a process that has no other.
        code = f"import json, resource, subprocess; print(subprocess.run({audit!r}, check=True, "
        code += "capture_output=True, text=True).stdout, "
        code += "resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
        run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
        text, peak = run.stdout.decode().rsplit("}", 1)
        found = json.loads(text + "}")
        return Row(
            *about,
            "unsat",
            None if found["accepted"] else f"refused later: {found['reason']}",
            solving=seconds["answer_seconds"],
            making=seconds["certificate_seconds"],
            checking=found["seconds"],
            leaves=found["leaves"],
            kib=round(file.stat().st_size / 1024, 1),
            proof_kib=round(_proof_bytes(file.read_bytes()) / 1024, 1),
            peak_mib=round(int(peak) / 1024),
        )


def _proof_bytes(data: bytes) -> int:
    """Of all sections that hold proofs, as they are stored."""
    start = len(MAGIC) + LENGTH_BYTES
    header = json.loads(data[start : start + int.from_bytes(data[len(MAGIC) : start], "little")])
    proofs = {proof["tree"] for proof in header["proofs"]}
    return sum(each["stored"] for each in header["sections"] if each["name"] in proofs)


def table(rows: Sequence[Row]) -> str:
    """By family, and of all."""
    lines = [
        "| family | unsat | with a certificate | checking / solving, median | largest | "
        "ms a leaf | KiB a leaf | largest file, KiB | most memory, MiB |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name in dict.fromkeys(row.benchmark for row in rows):
        lines.append(_line(name, [row for row in rows if row.benchmark == name]))
    lines.append(_line("**all**", rows))
    reasons = Counter(row.reason for row in rows if row.reason)
    return (
        "\n".join([*lines, "", *(f"{n} x {reason}" for reason, n in reasons.most_common())]) + "\n"
    )


def _line(title: str, rows: Sequence[Row]) -> str:
    done = [row for row in rows if row.verdict == "unsat" and row.reason is None]
    if not done:
        return f"| {title} | {len(rows)} | 0 | | | | | | |"
    shares = [row.checking / row.solving for row in done]
    leaves = sum(row.leaves for row in done)
    figures = (
        f"{median(shares):.2f}",
        f"{max(shares):.2f}",
        f"{1e3 * sum(row.checking for row in done) / leaves:.2f}",
        f"{sum(row.proof_kib for row in done) / leaves:.2f}",
        f"{max(row.kib for row in done):,.0f}",
        f"{max(row.peak_mib for row in done):.0f}",
    )
    return f"| {title} | {len(rows)} | {len(done)} | {' | '.join(figures)} |"


if __name__ == "__main__":
    sys.exit(main())
