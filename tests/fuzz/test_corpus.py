"""What fuzzing found once stays mended: every file of the corpus is read, or refused properly."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from tests.fuzz.finding import outcome_of
from tests.fuzz.harness import warm_up
from tests.fuzz.target import CORPUS, Target
from tests.fuzz.targets import BY_NAME, TARGETS
from tests.fuzz.watch import Watch, peak_memory

KEPT = [(target, path) for target in TARGETS for path in target.regressions]
# Too large to be kept as files.
MADE = {
    "csv": b"1,2\n3," + b"4" * 2**18,
    "instances": b"benchmark,onnx,vnnlib\n" + b"x" * 2**18,
    "spec": b"spec 1.0\nlet a = " + b"x+" * 2**16,
    "vnnlib-1": b"(assert " + b"(and " * 2**16,
}


@pytest.fixture
def sandbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@cache
def warm(target: Target) -> None:
    """Load what the target needs, once: that takes time, and is no fault of an input."""
    warm_up(target)


def assert_no_finding(target: Target, content: bytes, folder: Path) -> None:
    target.prepare(folder)
    warm(target)
    # The hook is not installed: that would stay for all tests. The runs of `test_runs` have it.
    outcome = outcome_of(target, content, folder, Watch(folder), peak_memory())
    assert outcome.finding is None, outcome.finding.text


@pytest.mark.parametrize(
    ("target", "path"), KEPT, ids=[f"{path.parent.name}/{path.name}" for _, path in KEPT]
)
def test_what_was_found_once_stays_mended(target: Target, path: Path, sandbox: Path) -> None:
    assert_no_finding(target, path.read_bytes(), sandbox)


@pytest.mark.parametrize("name", MADE)
def test_what_is_too_large_to_be_kept(name: str, sandbox: Path) -> None:
    assert_no_finding(BY_NAME[name], MADE[name], sandbox)


def test_every_folder_of_the_corpus_belongs_to_a_target() -> None:
    assert {path.name for path in CORPUS.iterdir()} <= set(BY_NAME)


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_runs_begin_with_every_known_input(target: Target) -> None:
    assert len(target.seeds()) < target.share
