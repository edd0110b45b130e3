"""Files of the project name no machine; diagnostic codes are listed, explained and used."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from specdsl.codes import CODES

ROOT = Path(__file__).resolve().parents[2]

# Absolute paths of one machine, or of one person's account on it.
MACHINE_PATH = re.compile(r"(?<![\w.])/(?:home|root|work|mnt|Users|opt|srv|var/tmp)/[\w.-]+")


def tracked() -> list[Path]:
    """Files that git knows or would add; everything below the root where there is no git."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    try:
        result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    return [ROOT / line for line in result.stdout.splitlines() if (ROOT / line).is_file()]


def machine_paths(text: str) -> list[str]:
    return MACHINE_PATH.findall(text)


def test_no_tracked_file_names_a_path_of_a_machine() -> None:
    found: list[str] = []
    for path in tracked():
        if path == Path(__file__):
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # a network or an archive
        found += [f"{path.relative_to(ROOT)}: {place}" for place in machine_paths(text)]
    assert not found


def test_the_check_itself_finds_a_path() -> None:
    assert machine_paths("open('/home/someone/net.onnx')")
    assert not machine_paths("see docs/work/plan.md and https://a.b/home/page")


def test_every_code_is_explained_in_sentences() -> None:
    for code, entry in CODES.items():
        assert re.fullmatch(r"[EW]\d{4}", code)
        assert entry.title
        assert not entry.title.endswith("."), f"{code}: a title is no sentence"
        assert entry.explanation.endswith("."), f"{code}: an explanation is"


def test_every_code_is_emitted_somewhere() -> None:
    texts = [p.read_text() for p in (ROOT / "specdsl").rglob("*.py") if p.name != "codes.py"]
    used = set(re.findall(r"\"([EW]\d{4})\"", "\n".join(texts)))
    assert used - set(CODES) == set()
    assert set(CODES) - used == set()
