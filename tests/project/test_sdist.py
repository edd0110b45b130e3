"""The source distribution is the checkout: what is unpacked from it builds, tests and measures."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hatchling.builders.sdist import SdistBuilder

ROOT = Path(__file__).resolve().parents[2]
# How this project is tested on its own host is of no use elsewhere.
LEFT_OUT = ".ci/"
# The builder adds these by itself, and does not list them.
ALWAYS_IN = {"pyproject.toml", ".gitignore"}


def test_every_tracked_file_is_in_the_source_distribution() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("no checkout")
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    tracked = {name for name in listed.stdout.split("\0") if name}
    builder = SdistBuilder(str(ROOT))
    packed = {file.distribution_path for file in builder.recurse_included_files()}
    left_out = {name for name in tracked - packed - ALWAYS_IN if not name.startswith(LEFT_OUT)}
    assert not left_out
