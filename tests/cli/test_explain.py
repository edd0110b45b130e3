"""Every code is explained by an example that the tool itself refuses, and by one it accepts."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from specdsl.cli.explain import GROUPS
from specdsl.cli.explanations import (
    DEFAULT_COMMAND,
    FOLDER,
    SHOWN,
    Example,
    explanation_of,
    shown_for,
)
from specdsl.cli.main import main
from specdsl.cli.vnnlib_solver import main as solver_main
from specdsl.codes import CODES
from specdsl.diagnostics import Diagnostic, SpecError
from specdsl.language.checking.check import check
from specdsl.language.parsing.parser import parse
from specdsl.source import Source
from tests.cli.conftest import Cli
from tests.language.pasting import pasted

WITHOUT_EXAMPLES = {
    *("E0519", "E0520", "E0610", "E0611", "E0615", "E0630", "E0752", "E0754", "E0853"),
    *("E0870", "E0871"),
    *("E1101", "E1102", "E1103", "E1104", "E1105", "W0903"),
}
"""Codes that no file and no command line provoke; the note of their entry says why."""

WITH_EXAMPLES = [code for code in CODES if code not in WITHOUT_EXAMPLES]
PROGRAMS = {"specdsl": main, "specdsl-vnnlib": solver_main}

Say = Callable[[Example], list[str]]


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Say:
    """What the tool says of an example, diagnostic by diagnostic."""
    monkeypatch.chdir(tmp_path)

    def run(example: Example) -> list[str]:
        example.write(tmp_path)
        program, *arguments = shlex.split(example.command)
        with pytest.raises(SystemExit):
            PROGRAMS[program](arguments)
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        text = captured.err + "\n\n" + captured.out
        blocks = re.findall(r"^(?:error|warning)\[\w+\]:.*?(?=\n\n|\Z)", text, re.M | re.S)
        return list(dict.fromkeys(b.strip().replace(f"{tmp_path}/", "") for b in blocks))

    return run


@pytest.mark.parametrize("code", WITH_EXAMPLES)
def test_the_failing_example_fails_and_reads_as_shown(
    say: Say, code: str, request: pytest.FixtureRequest
) -> None:
    entry = explanation_of(code)
    assert entry is not None
    assert entry.failing is not None
    found = say(entry.failing)
    # Two of its own kind are enough to look at.
    text = "\n\n".join([block for block in found if f"[{code}]:" in block][:2])
    assert text, found
    if request.config.getoption("--update-golden"):
        (SHOWN / f"{code}.txt").write_text(text + "\n")
    assert text == shown_for(code)


@pytest.mark.parametrize("code", WITH_EXAMPLES)
def test_the_passing_example_passes(say: Say, code: str) -> None:
    entry = explanation_of(code)
    assert entry is not None
    assert entry.passing is not None
    assert say(entry.passing) == []


def test_every_code_has_an_entry_and_every_entry_a_code() -> None:
    entries = {
        code
        for path in FOLDER.glob("*.toml")
        for code in re.findall(r"^\[([EW]\w+)[.\]]", path.read_text(), re.M)
    }
    assert set(CODES) - entries == set()
    assert entries - set(CODES) == set()
    assert {path.stem for path in SHOWN.glob("*.txt")} == set(WITH_EXAMPLES)
    for code in WITHOUT_EXAMPLES:
        entry = explanation_of(code)
        assert entry is not None
        assert entry.note


def test_codes_are_listed_by_group(cli: Cli) -> None:
    run = cli("explain")
    assert run.code == 0
    listed = re.findall(r"^  (\w+)  (.*)$", run.out, re.M)
    assert dict(listed) == {code: entry.title for code, entry in CODES.items()}
    assert len(listed) == len(CODES)
    headings = [line for line in run.out.splitlines() if line in GROUPS.values()]
    assert headings == list(GROUPS.values())


@pytest.mark.parametrize("written", ["E0301", "e0301", "[E0301]", "error[E0301]"])
def test_an_explanation_shows_both_examples(cli: Cli, written: str) -> None:
    run = cli("explain", written)
    assert run.code == 0
    parts = ["E0301: ", "This fails:", "error[E0301]: ", "This passes:", "$ specdsl check-syntax"]
    places = [run.out.index(part) for part in parts[:4]]
    assert places == sorted(places)
    assert run.out.count(parts[4]) == 2


def test_unknown_codes_get_a_suggestion(cli: Cli) -> None:
    run = cli("explain", "E03O1")
    assert run.code == 2
    assert "error[E0856]" in run.err
    assert "did you mean `E0" in run.err


@pytest.mark.parametrize("code", CODES)
def test_explanations_fit_a_terminal_and_name_no_machine(cli: Cli, code: str) -> None:
    run = cli("explain", code)
    assert run.code == 0
    assert str(Path.home()) not in run.out
    assert not re.search(r"/(tmp|work|home)/", run.out)
    assert max(map(len, run.out.splitlines())) <= 600


def _of_one_file(code: str) -> bool:
    entry = explanation_of(code)
    example = entry.failing if entry else None
    return (
        example is not None
        and example.command == DEFAULT_COMMAND
        and list(example.files) == ["example.spec"]
        and not code.startswith("E05")
    )


def _diagnostics(text: str, folder: Path) -> tuple[Diagnostic, ...]:
    try:
        program = parse(Source("example.spec", text))
        return check(program, base=folder, working_directory=folder).warnings
    except SpecError as error:
        return error.diagnostics


def test_what_a_help_line_says_to_write_mends_the_example(tmp_path: Path) -> None:
    mended = 0
    for code in filter(_of_one_file, WITH_EXAMPLES):
        text = explanation_of(code).failing.files["example.spec"].content.decode()  # type: ignore[union-attr]
        own = [item for item in _diagnostics(text, tmp_path) if item.code == code]
        assert own, code
        candidates = list(pasted(own[0]))
        left = [{item.code for item in _diagnostics(each, tmp_path)} for each in candidates]
        assert not candidates or any(code not in codes for codes in left), code
        mended += bool(candidates)
    assert mended >= 12
