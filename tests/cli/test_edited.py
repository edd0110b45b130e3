"""What a user changed in a script is not lost when the script is written anew."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from specdsl.diagnostics import SpecError, render
from specdsl.training.emit.edited import UNSEALED, is_edited, require_unedited, sealed
from tests.cli.conftest import Cli

LINES = [f'"""A script, {UNSEALED}."""', "EPOCHS = 10", "BATCH = 128", "SEED = 0", "print()"]
TEXT = sealed("\n".join(LINES) + "\n")

SPEC = """spec 1.0
param eps: real = 1/10
network h: real[2] -> real[2] { layer dense(3)  layer relu  layer dense(2) }
dataset d: (real[2], label[2]) = npz("d.npz")
property robust(x, y, r) = forall z in norm_ball(x, r, linf): argmax(h(z)) == y
train h on d {
  epochs = 1  optimizer = adam(lr = 1/1000)
  minimize certified_loss(robust, r = eps)
}
"""


def lines_of(edited: list[str], new: str = TEXT) -> str:
    """What is said of an edited text before a new one is written over it."""
    path = Path("train.py")
    path.write_text("\n".join(edited) + "\n")
    with pytest.raises(SpecError, match="E0862") as error:
        require_unedited(path, new, "keep it")
    return error.value.diagnostics[0].message.partition(": ")[2]


@given(st.integers(0, len(TEXT) - 1), st.characters(codec="ascii", categories=["L", "N", "P"]))
def test_every_changed_letter_is_an_edit(place: int, letter: str) -> None:
    changed = TEXT[:place] + letter + TEXT[place + 1 :]
    assert is_edited(changed) == (changed != TEXT)


def test_what_was_not_edited_is_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "train.py"
    require_unedited(path, TEXT, "")
    for text in ("", "\n", TEXT, TEXT.replace("\n", "\r\n")):
        path.write_bytes(text.encode())
        require_unedited(path, sealed("another"), "")


def test_edited_lines_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    head, *rest = TEXT.splitlines()
    assert lines_of([head, "EPOCHS = 20", *rest[1:]]) == "line 2 would be lost"
    assert lines_of([head, *rest, "a = 1", "b = 2"]) == "lines 6-7 would be lost"
    assert lines_of([head, "a = 1", *rest[:2], "b = 2", *rest[2:]]) == "lines 2, 5 would be lost"
    assert lines_of([head, *rest[:-1]]) == "lines would come back"
    many = [line for k in range(4) for line in (f"a{k} = {k}", rest[k])]
    assert lines_of([head, *many]) == "lines 2, 4, 6, 8 would be lost"
    # Where the spec was changed as well, the lines that the new script does not have.
    other = sealed("\n".join([*LINES[:2], "BATCH = 64", *LINES[3:]]) + "\n")
    assert lines_of([head, "EPOCHS = 20", *rest[1:]], other) == "lines 2-3 would be lost"
    assert lines_of(["EPOCHS = 20"]) == "line 1 would be lost"


def test_the_first_edited_line_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("train.py").write_text(TEXT.replace("EPOCHS = 10", "EPOCHS = 20"))
    with pytest.raises(SpecError) as error:
        require_unedited(Path("train.py"), TEXT, "keep it")
    shown = render(error.value.diagnostics[0])
    assert "--> train.py:2:1" in shown
    assert "EPOCHS = 20" in shown
    assert "help: keep it" in shown


@pytest.mark.parametrize("kind", [(), ("--standalone",)])
def test_emit_does_not_write_over_an_edited_script(kind: tuple[str, ...], cli: Cli) -> None:
    Path("f.spec").write_text(SPEC)
    command, path = ("emit", "f.spec", *kind, "-o", "train.py"), Path("train.py")
    assert cli(*command).code == 0
    written = path.read_text()
    assert not is_edited(written)
    # Not edited, so it follows the spec.
    Path("f.spec").write_text(SPEC.replace("epochs = 1 ", "epochs = 2 "))
    assert cli(*command).code == 0
    assert path.read_text() != written
    path.write_text(path.read_text().replace("SEED", "SEEDS"))
    edited = path.read_text()
    refused = cli(*command)
    assert refused.code == 2
    assert "error[E0862]" in refused.err + refused.out
    assert path.read_text() == edited
    assert cli(*command, "--force").code == 0
    assert not is_edited(path.read_text())


def test_train_does_not_write_over_an_edited_script(cli: Cli) -> None:
    Path("f.spec").write_text(SPEC)
    script = Path("h.train.py")
    script.write_text(sealed(f'"""{UNSEALED}"""\n') + "EPOCHS = 20\n")
    found = cli("train", "f.spec", "--check")
    text = found.err + found.out
    assert found.code == 2
    assert "error[E0862]" in text
    assert "python h.train.py" in text
    assert script.read_text().endswith("EPOCHS = 20\n")
