"""What the README shows is what happens."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import specdsl
from specdsl.report import console

README = Path(__file__).resolve().parents[2] / "README.md"


def block(language: str) -> str:
    """The first code block of a language."""
    match = re.search(rf"```{language}\n(.*?)```", README.read_text(), re.DOTALL)
    assert match is not None
    return match[1]


def normalised(text: str) -> str:
    """Without seconds, the version of the runtime, and what their widths do to spaces."""
    text = re.sub(r"\d+\.\d\d(?= s$|$)", "T", text, flags=re.MULTILINE)
    text = re.sub(r"onnxruntime [\d.]+", "onnxruntime V", text)
    return re.sub(r"[ ─]+", " ", text).strip()


def test_the_example_gives_the_output_that_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("brake.spec").write_text(block("spec"))
    shown = block("console").removeprefix("$ specdsl check brake.spec\n")
    report = specdsl.load("brake.spec").check()
    assert normalised(console.to_text([report])) == normalised(shown)


def test_the_python_example_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("brake.spec").write_text(block("spec"))
    exec(compile(block("python"), "README.md", "exec"), {})
    assert capsys.readouterr().out.startswith("brake.spec::stops falsified")


def test_links_lead_to_files() -> None:
    for target in re.findall(r"\]\(([\w/.-]+)\)", README.read_text()):
        assert (README.parent / target).exists(), target
