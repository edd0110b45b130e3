"""What a training says: pinned lines, the same as JSON, and pictures of it."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
import torch

from specdsl.diagnostics import SpecError, render
from specdsl.training.runtime.loop import curves
from specdsl.training.runtime.loop.log import (
    CpuSeconds,
    EpochRecord,
    Log,
    Means,
    as_json,
    line,
    read_log,
)
from tests.conftest import Golden

FULL = EpochRecord(
    epoch=12,
    eps=0.08125,
    weights={"kappa": 0.75, "beta": 0.5},
    terms={"clean_loss": 0.081234567, "certified_loss": 1.5},
    clean=0.9754,
    adversarial=0.912,
    certified=0.8933,
    certified_by="crown_ibp",
    unstable=412.25,
    multipliers={"violation": 0.03},
    steps=3.72,
    lr=5e-4,
    cpu_seconds=5.37,
)
EMPTY = EpochRecord(epoch=3)
FIRST = EpochRecord(
    epoch=1, eps=0.0, terms={"clean_loss": 2.302585}, clean=0.5, lr=5e-3, cpu_seconds=1.0
)


def test_log_lines_read_as_agreed(golden: Golden) -> None:
    records = (FIRST, EMPTY, FULL)
    text = [line(record, 200) for record in records] + [as_json(record) for record in records]
    golden.check("training/log.txt", "\n".join(text))


def test_the_file_says_the_same_as_the_stream(tmp_path: Path) -> None:
    stream, path = io.StringIO(), tmp_path / "log.jsonl"
    log = Log(stream, path, 200)
    for record in (FIRST, EMPTY, FULL):
        log.write(record)
    assert stream.getvalue().splitlines() == [line(r, 200) for r in (FIRST, EMPTY, FULL)]
    assert [r["epoch"] for r in read_log(path)] == [1, 3, 12]
    assert read_log(path)[2]["terms"] == {"clean_loss": 0.081234567, "certified_loss": 1.5}


def test_a_resumed_run_takes_out_what_comes_again(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    first = Log(io.StringIO(), path, 5)
    for epoch in (1, 2, 3, 4):
        first.write(EpochRecord(epoch=epoch, lr=float(epoch)))
    with path.open("a") as file:
        file.write('{"epoch": 5, "ep')  # killed while writing
    second = Log(io.StringIO(), path, 5, resumed=2)
    second.write(EpochRecord(epoch=3))
    assert [(r["epoch"], r["lr"]) for r in read_log(path)] == [(1, 1.0), (2, 2.0), (3, None)]
    Log(io.StringIO(), path, 5)
    assert read_log(path) == []


def test_numbers_that_are_none_are_texts_in_json() -> None:
    text = as_json(EpochRecord(epoch=1, eps=float("nan"), terms={"a": float("inf")}))
    assert json.loads(text)["eps"] == "nan"
    assert json.loads(text)["terms"] == {"a": "inf"}


def test_means_count_samples_and_go_on() -> None:
    means = Means()
    means.add({"a": torch.tensor(1.0, requires_grad=True), "b": 3.0}, 3)
    other = Means()
    other.load_state_dict(means.state_dict())
    other.add({"a": 5.0}, 1)
    assert other.values == {"a": 2.0, "b": 3.0}
    assert means.values["a"] == 1.0
    other.clear()
    assert other.values == {}


def test_cpu_seconds_are_of_a_lap() -> None:
    clock = CpuSeconds()
    sum(i * i for i in range(200_000))
    assert clock.lap() > 0
    assert clock.lap() < 1


def test_progress_is_for_terminals_alone() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    quiet, terminal = io.StringIO(), Terminal()
    assert list(Log(quiet, None, 1).progress([1, 2], "epoch 1")) == [1, 2]
    assert quiet.getvalue() == ""
    assert list(Log(terminal, None, 1).progress([1, 2], "epoch 1")) == [1, 2]
    assert "epoch 1" in terminal.getvalue()


@pytest.mark.parametrize("ending", ["svg", "png"])
def test_pictures_of_a_log_are_the_same_every_time(tmp_path: Path, ending: str) -> None:
    pytest.importorskip("matplotlib")
    path, picture = tmp_path / "log.jsonl", tmp_path / f"curves.{ending}"
    log = Log(io.StringIO(), path, 12)
    for record in (FIRST, EMPTY, FULL):
        log.write(record)
    curves.draw(path, picture)
    content = picture.read_bytes()
    curves.draw(path, picture)
    assert picture.read_bytes() == content
    if ending == "svg":
        text = content.decode()
        assert all(word in text for word in ("clean_loss", "certified", "accuracy", "epoch"))
    else:
        assert content.startswith(b"\x89PNG")


def test_what_is_no_log_reads_as_agreed(
    tmp_path: Path, golden: Golden, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("log.jsonl").write_text('{"epoch": 1}\nepoch 2\n')
    with pytest.raises(SpecError) as caught:
        curves.draw(Path("log.jsonl"), Path("curves.svg"))
    golden.check("codes/E1103.txt", render(caught.value.diagnostics[0]))


def test_what_cannot_be_drawn_reads_as_agreed(tmp_path: Path, golden: Golden) -> None:
    with pytest.raises(SpecError) as caught:
        curves.render([{"epoch": 1}], tmp_path / "curves.jpg")
    golden.check("codes/E1104.txt", render(caught.value.diagnostics[0]))
    with pytest.raises(SpecError, match="no epoch yet"):
        curves.render([], tmp_path / "curves.svg")


def test_files_that_cannot_be_written_are_named(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="E0854"):
        Log(io.StringIO(), tmp_path / "absent" / "log.jsonl", 1)
    pytest.importorskip("matplotlib")
    Log(io.StringIO(), tmp_path / "log.jsonl", 1).write(FULL)
    with pytest.raises(SpecError, match="E0854"):
        curves.draw(tmp_path / "log.jsonl", tmp_path / "absent" / "curves.svg")
