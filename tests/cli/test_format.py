"""`specdsl format`: what is written, what is only shown, and what is left alone."""

from __future__ import annotations

import io
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.conftest import Cli

UGLY = "spec 1.0\nlet a=1# one\r\n"
NEAT = "spec 1.0\nlet a = 1  # one\n"
BROKEN = "spec 1.0\nlet a = \n"


def write(name: str, text: str) -> Path:
    path = Path(name)
    path.write_bytes(text.encode())
    return path


def test_files_and_folders_are_rewritten_in_place(cli: Cli, tmp_path: Path) -> None:
    write("a.spec", UGLY)
    Path("more").mkdir()
    write("more/b.spec", UGLY)
    write("more/c.spec", NEAT)
    run = cli("format", "a.spec", "more")
    assert (run.code, run.out, run.err) == (0, "", "2 of 3 files reformatted\n")
    assert {p.read_bytes().decode() for p in tmp_path.rglob("*") if p.is_file()} == {NEAT}
    assert len(list(tmp_path.rglob("*"))) == 4, "no temporary file is left"


def test_check_lists_and_writes_nothing(cli: Cli) -> None:
    ugly, neat = write("a.spec", UGLY), write("b.spec", NEAT)
    run = cli("format", "--check", "a.spec", "b.spec")
    assert (run.code, run.out) == (1, "a.spec\n")
    assert run.err == "1 of 2 files would be reformatted\n"
    assert ugly.read_bytes() == UGLY.encode()
    run = cli("format", "--check", neat)
    assert (run.code, run.out, run.err) == (0, "", "0 of 1 file would be reformatted\n")


def test_diff_shows_and_writes_nothing(cli: Cli) -> None:
    ugly = write("a.spec", UGLY.replace("\r", ""))
    run = cli("format", "--diff", ugly)
    assert run.code == 0
    assert run.out.splitlines() == [
        *("--- a.spec", "+++ a.spec (formatted)", "@@ -1,2 +1,2 @@"),
        *(" spec 1.0", "-let a=1# one", "+let a = 1  # one"),
    ]
    assert cli("format", "--diff", "--check", ugly).code == 1
    assert ugly.read_text() == UGLY.replace("\r", "")


def test_a_file_with_a_syntax_error_stays_and_the_others_do_not(cli: Cli) -> None:
    broken, ugly = write("a.spec", BROKEN), write("b.spec", UGLY)
    run = cli("format", broken, ugly)
    assert run.code == 2
    assert "error[E0101]" in run.err
    assert broken.read_text() == BROKEN
    assert ugly.read_text() == NEAT


def test_stdin_goes_to_stdout(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def given(text: str) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))

    given(UGLY)
    run = cli("format", "-")
    assert (run.code, run.out, run.err) == (0, NEAT, "")
    given(UGLY)
    assert cli("format", "--check", "-").code == 1
    given(BROKEN)
    run = cli("format", "-")
    assert (run.code, run.out) == (2, "")
    assert "<stdin>:2" in run.err


def test_links_and_permissions_stay(cli: Cli) -> None:
    target = write("real.spec", UGLY)
    target.chmod(0o640)
    Path("link.spec").symlink_to(target)
    assert cli("format", "link.spec").code == 0
    assert Path("link.spec").is_symlink()
    assert target.read_text() == NEAT
    assert target.stat().st_mode & 0o777 == 0o640


def test_a_file_that_cannot_be_replaced_is_a_diagnostic(cli: Cli) -> None:
    # The name of the temporary file beside it would be too long; permissions do not stop root.
    ugly = write(f"{'a' * 245}.spec", UGLY)
    run = cli("format", ugly)
    assert run.code == 2
    assert "error[E0854]" in run.err
    assert ugly.read_bytes() == UGLY.encode()


def test_odd_files_are_refused(cli: Cli) -> None:
    write("a.spec.gz", UGLY)
    write("latin.spec", "")
    Path("latin.spec").write_bytes("# größer".encode("latin-1"))
    run = cli("format", "a.spec.gz", "latin.spec", "absent.spec")
    assert run.code == 2
    assert [code in run.err for code in ("E0854", "E0505", "E0501")] == [True] * 3
    Path("empty").mkdir()
    assert cli("format", "empty").code == 5


def test_formatting_starts_quickly_and_loads_nothing_heavy(tmp_path: Path) -> None:
    (tmp_path / "a.spec").write_text(UGLY)
    code = """
import sys
from specdsl.cli import main
try:
    main(["format", "a.spec"])
finally:
    heavy = {"torch", "pyomo", "z3", "onnx", "onnxruntime", "matplotlib", "numpy"}
    assert not heavy & set(sys.modules), heavy & set(sys.modules)
"""
    for _ in range(2):  # the first one may have to build the parser
        start = time.perf_counter()
        result = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        seconds = time.perf_counter() - start
    assert result.returncode == 0, result.stderr
    assert seconds < 2  # 0.3 s where nothing else runs
