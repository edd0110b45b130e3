"""How scripts end: diagnostics alone, with the exit codes of the command line."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from specdsl.backend import Unsupported
from specdsl.diagnostics import SpecError
from specdsl.run.exit_codes import ExitCode
from specdsl.training.runtime.loop.checks import Mistake
from specdsl.training.runtime.loop.outermost import INTERRUPTED, TRACEBACK, USAGE, guarded


def raising(error: BaseException) -> Callable[[], None]:
    def main() -> None:
        raise error

    return main


def test_exit_codes_are_those_of_the_command_line() -> None:
    assert (USAGE, INTERRUPTED) == (ExitCode.USAGE, ExitCode.INTERRUPTED)


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (SpecError.of("E1101", "`clean_loss` is nan in epoch 3", help="lower it"), 2, "= help:"),
        (Unsupported("pruning", "a network without weights", "leave it"), 2, "error[E0901]: pru"),
        (Mistake("interval is above the margin"), 2, "check: interval is above the margin\n"),
        (KeyboardInterrupt(), 130, "interrupted: run it again"),
    ],
)
def test_what_can_be_mended_is_told_without_a_traceback(
    error: BaseException, code: int, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as found:
        guarded(raising(error))
    assert found.value.code == code
    told = capsys.readouterr()
    assert says in told.err
    assert "Traceback" not in told.err
    assert told.out == ""


def test_bugs_and_those_who_ask_get_the_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ZeroDivisionError):
        guarded(raising(ZeroDivisionError()))
    monkeypatch.setenv(TRACEBACK, "1")
    with pytest.raises(SpecError):
        guarded(raising(SpecError.of("E1101", "broken")))


def test_a_script_that_ends_well_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    guarded(lambda: None)
    assert capsys.readouterr() == ("", "")
