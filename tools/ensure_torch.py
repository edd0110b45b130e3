"""Install a CPU build of torch into the environment that runs this script, and nothing else.

Plain `pip install torch` may bring several gigabytes of CUDA libraries. The order is: keep what is
there; else pip, where its own configuration offers a build without CUDA (asked by a dry run); else
uv's `--torch-backend`, which knows where CPU wheels are; else plain pip with a warning.

Usage: python tools/ensure_torch.py torch==2.13.0 [-c constraints.txt]
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path


def installed(requirement: str) -> bool:
    """Whether the environment already holds exactly the version asked for (any local build tag)."""
    _, _, version = requirement.partition("==")
    try:
        found = importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        return False
    return found.partition("+")[0] == version


def pip(*arguments: str) -> int:
    """Exit status of `python -m pip ARGUMENTS`."""
    return subprocess.run([sys.executable, "-m", "pip", *arguments], check=False).returncode


def offers_cpu_build(requirement: str, constraints: list[str]) -> bool:
    """Whether pip, as configured here, would install torch without any CUDA package."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        status = pip(
            "install", "--quiet", "--dry-run", "--report", str(report), *constraints, requirement
        )
        if status != 0 or not report.exists():
            return False
        plan = json.loads(report.read_text())
    names = [item["metadata"]["name"].lower() for item in plan["install"]]
    return not any(name.startswith(("nvidia-", "cuda-", "triton")) for name in names)


def main(requirement: str, constraints: list[str]) -> int:
    """Install `requirement`; the exit status is that of the installer used."""
    if installed(requirement):
        return 0
    if offers_cpu_build(requirement, constraints):
        return pip("install", "--quiet", *constraints, requirement)
    backend = os.environ.get("SPECDSL_TORCH", "cpu")
    if pip("install", "--quiet", "uv") == 0:
        command = [sys.executable, "-m", "uv", "pip", "install", "--python", sys.executable]
        command += ["--torch-backend", backend, *constraints, requirement]
        if subprocess.run(command, check=False).returncode == 0:
            return 0
    print(
        "warning: no CPU build of torch found; plain pip may download several GB", file=sys.stderr
    )
    return pip("install", *constraints, requirement)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
