"""`specdsl check` with workers and a store, and `specdsl cache`."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from specdsl.run.store.database import FILE
from specdsl.run.workers.limits import can_fork
from tests.cli.conftest import Cli
from tests.cli.test_cli import MIXED, write

SPEC = MIXED.replace("check bounded, grows, reaches", "check bounded, grows, reaches using smt")
KEPT = ("--cache-dir", "kept")
LINUX = pytest.mark.skipif(not can_fork(), reason="workers take Linux")


def answers(text: str) -> dict[str, bool]:
    """Which results were cached, by property."""
    return {r["property"]: r["cached"] for r in json.loads(text)["results"]}


def test_a_second_check_asks_nothing(cli: Cli) -> None:
    command = ("check", write("f.spec", SPEC), *KEPT, "--output-format", "json")
    first, second = cli(*command), cli(*command)
    assert (first.code, second.code) == (1, 1)
    assert set(answers(first.out).values()) == {False}
    assert set(answers(second.out).values()) == {True}
    assert second.err.count("(cached)") == 3


def test_what_changed_is_asked_and_the_rest_is_not(cli: Cli) -> None:
    cli("check", write("f.spec", SPEC), *KEPT)
    write("f.spec", SPEC.replace("3 * x - 1.5", "3 * x - 1.25"))
    run = cli("check", "f.spec", *KEPT, "--output-format", "json")
    assert answers(run.out) == {"bounded": True, "grows": False, "reaches": True}
    # Names, comments and places are no part of what is asked.
    write("g.spec", "# moved\n\n" + SPEC.replace("double", "twice").replace("bounded", "small"))
    run = cli("check", "g.spec", *KEPT, "--output-format", "json")
    assert answers(run.out) == {"small": True, "grows": True, "reaches": True}


def test_a_cached_falsification_reads_as_a_new_one(cli: Cli) -> None:
    command = ("check", write("f.spec", SPEC), "-k", "grows", *KEPT, "--output-format", "json")
    first, second = (json.loads(cli(*command).out)["results"][0] for _ in range(2))
    assert (first.pop("cached"), second.pop("cached")) == (False, True)
    assert first == second


def test_without_the_cache_nothing_is_read_or_written(cli: Cli) -> None:
    path = write("f.spec", SPEC)
    cli("check", path, "--no-cache")
    assert not Path(".specdsl_cache").exists()
    cli("check", path, *KEPT)
    run = cli("check", path, *KEPT, "--no-cache", "--output-format", "json")
    assert set(answers(run.out).values()) == {False}


def test_the_folder_is_that_of_flag_environment_or_default(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write("f.spec", SPEC)
    cli("check", path, "--cache-dir", "flag")
    monkeypatch.setenv("SPECDSL_CACHE_DIR", "environment")
    cli("check", path)
    assert Path("flag", FILE).exists()
    # The tests' own environment says to keep nothing, which a flag alone overrules.
    assert not Path("environment").exists()
    monkeypatch.delenv("SPECDSL_NO_CACHE")
    cli("check", path)
    assert Path("environment", FILE).exists()
    monkeypatch.delenv("SPECDSL_CACHE_DIR")
    cli("check", path)
    assert Path(".specdsl_cache", FILE).exists()


def test_attack_keeps_what_it_finds(cli: Cli) -> None:
    command = ("attack", write("f.spec", SPEC), "-k", "grows", *KEPT)
    assert "cached" not in cli(*command).out
    assert "cached" in cli(*command).out


@LINUX
def test_workers_of_the_command_line_decide_the_same(tmp_path: Path) -> None:
    """As people run it: in a process of its own, with the defaults, then with limits."""
    (tmp_path / "f.spec").write_text(SPEC)
    plain = {k: v for k, v in os.environ.items() if not k.startswith("SPECDSL_")}

    def run(*options: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "specdsl.cli", "check", "f.spec", *options]
        command += ["--output-format", "json"]
        return subprocess.run(
            command, cwd=tmp_path, env=plain, capture_output=True, text=True, check=False
        )

    first = run()
    second = run("--jobs", "2", "--memory", "4", "--no-cache")
    assert (first.returncode, second.returncode) == (1, 1), first.stderr + second.stderr
    assert (tmp_path / ".specdsl_cache" / FILE).exists()
    verdicts = [[r["verdict"] for r in json.loads(r.stdout)["results"]] for r in (first, second)]
    assert verdicts[0] == verdicts[1] == ["verified", "falsified", "verified"]


@LINUX
def test_too_little_memory_costs_verdicts_and_not_the_run(cli: Cli) -> None:
    path = write("f.spec", SPEC)
    run = cli("check", path, "--jobs", "1", "--memory", "0.01", "--output-format", "json")
    assert run.code == 4, run.err
    reasons = {r["reason"] for r in json.loads(run.out)["results"]}
    assert reasons == {"out of memory (limit 0.01 GiB)"}


@pytest.mark.parametrize(
    "options", [("--jobs", "0", "--memory", "4"), ("--jobs", "-1"), ("--memory", "0")]
)
def test_limits_that_make_no_sense_are_refused(cli: Cli, options: tuple[str, ...]) -> None:
    assert cli("check", write("f.spec", SPEC), *options).code == 2


@LINUX
def test_a_memory_limit_keeps_away_from_the_gpu(cli: Cli) -> None:
    run = cli("check", write("f.spec", SPEC), "--jobs", "1", "--memory", "4", "--device", "cuda")
    assert (run.code, "address space" in run.err) == (2, True)


def test_workers_are_refused_where_there_are_none(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("specdsl.run.workers.limits.can_fork", lambda: False)
    path = write("f.spec", SPEC)
    run = cli("check", path, "--jobs", "2")
    assert (run.code, "need Linux" in run.err) == (2, True)
    monkeypatch.delenv("SPECDSL_JOBS")
    assert cli("check", path).code == 1


# --- specdsl cache -------------------------------------------------------------------------------


def test_verify_looks_at_rows_and_replays_witnesses(cli: Cli) -> None:
    cli("check", write("f.spec", SPEC), *KEPT)
    run = cli("cache", "verify", *KEPT)
    assert run.code == 0
    assert "kept: 3 answers (2 falsified, 1 verified)" in run.out
    assert "2 witnesses replayed, 1 proofs looked at" in run.out
    assert "0 wrong" in run.out


def test_verify_looks_only_where_it_is_told_to(cli: Cli) -> None:
    cli("check", write("f.spec", SPEC), *KEPT)
    write("other.spec", SPEC)
    run = cli("cache", "verify", "other.spec", *KEPT)
    assert "0 witnesses replayed" in run.out
    assert "3 are as written" in run.out


def test_verify_ends_with_1_where_something_is_wrong(cli: Cli) -> None:
    cli("check", write("f.spec", SPEC), *KEPT)
    with closing(sqlite3.connect(Path("kept", FILE))) as other, other:
        other.execute("UPDATE answers SET seconds = 99 WHERE origin LIKE '%grows%'")
    run = cli("cache", "verify", *KEPT)
    assert run.code == 1
    assert "is not what was written" in run.out
    assert "1 wrong" in run.out


def test_prune_takes_what_it_is_told_to(cli: Cli) -> None:
    cli("check", write("f.spec", SPEC), *KEPT)
    assert "0 gone, 3 left" in cli("cache", "prune", *KEPT).out
    assert "0 gone, 3 left" in cli("cache", "prune", "--older-than", "1", *KEPT).out
    assert "3 gone, 0 left" in cli("cache", "prune", "--all", *KEPT).out


def test_a_file_that_is_no_store_is_refused_and_can_be_thrown_away(cli: Cli) -> None:
    Path("kept").mkdir()
    path = Path("kept", FILE)
    path.write_bytes(b"nonsense " * 999)
    for command in ("verify", "prune"):
        run = cli("cache", command, *KEPT)
        assert (run.code, "prune --all" in run.err) == (2, True)
    assert cli("cache", "prune", "--all", *KEPT).code == 0
    assert not path.exists()


def test_where_nothing_is_kept_nothing_is_done(cli: Cli) -> None:
    for command in ("verify", "prune"):
        run = cli("cache", command, *KEPT)
        assert (run.code, run.out) == (0, "kept: no answers are kept there\n")
    assert not Path("kept").exists()
