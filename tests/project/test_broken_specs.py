"""`specdsl check` on every broken spec: diagnostics on stderr, exit code 2, never a traceback."""

from __future__ import annotations

from pathlib import Path

import pytest

from specdsl.cli import main

BROKEN = Path(__file__).parents[1] / "language" / "broken"
FILES = sorted(BROKEN.glob("e[0-9]*.spec"))
ENOUGH = 20


def overrides(path: Path) -> list[str]:
    """A first line `# overrides: name=value ...` stands for `-D`."""
    first = path.read_text(encoding="utf-8", errors="replace").partition("\n")[0]
    pairs = first.removeprefix("# overrides:").split() if first.startswith("# overrides:") else []
    return [argument for pair in pairs for argument in ("-D", pair)]


def test_there_are_enough_of_them() -> None:
    assert len(FILES) >= ENOUGH


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_broken_spec_gives_its_diagnostic_and_exit_code_2(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["check", str(path), *overrides(path)])
    captured = capsys.readouterr()
    assert ended.value.code == 2
    assert f"error[{path.stem[:5].upper()}]" in captured.err
    assert "Traceback" not in captured.err
