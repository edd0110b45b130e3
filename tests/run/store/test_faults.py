"""What happens to the file costs the keeping of answers, never an answer."""

from __future__ import annotations

import multiprocessing
import os
import random
import resource
import shutil
import signal
import sqlite3
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from specdsl.run.demand import BELIEVING
from specdsl.run.store.database import FILE, Damaged, Database
from specdsl.run.store.encoding import encode
from specdsl.run.store.keeping import keeping
from specdsl.run.store.key import Key
from specdsl.run.store.row import Row
from specdsl.run.workers.limits import can_fork
from specdsl.verdict import Answer, Falsified, Verified
from tests.run.fakes import PROVEN, query
from tests.run.store.fakes import ASKED, Counting, Keeps

LINUX = pytest.mark.skipif(not can_fork(), reason="takes a fork")
NOBODY = 65534


def row(number: int, made: float = 0.0, origin: str = "null") -> Row:
    key = Key(f"query {number}", "backend", "versions")
    return Row(key, encode(Answer(PROVEN, "m", 1.0)), 1.0, 1.0, made, origin, certificate=b"\0\1")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    ASKED.clear()
    return tmp_path / "kept"


def in_a_process(do: Callable[..., object], *arguments: object) -> int:
    """What a forked process ends with."""
    process = multiprocessing.get_context("fork").Process(target=do, args=arguments)
    process.start()
    process.join()
    assert process.exitcode is not None
    return process.exitcode


# --- the file ------------------------------------------------------------------------------------


def test_a_row_is_read_back_whole(folder: Path) -> None:
    with Database(folder).closing() as database:
        database.put(row(1))
        assert database.get(row(1).key) == row(1)
        assert database.get(row(2).key) is None
        assert list(database.rows()) == [row(1)]


@pytest.mark.parametrize(
    "change",
    [
        "answer = answer || ' '",
        "limit_seconds = 99",
        "limit_seconds = NULL",
        "seconds = 2",
        "made = 1",
        "origin = '[]'",
        "certificate = NULL",
        "certificate = x'0002'",
        "checksum = 'other'",
        "query = 'other'",
        "backend = 'other'",
        "versions = 'other'",
        "semantics = 'other'",
    ],
)
def test_no_part_of_a_row_can_change_unseen(folder: Path, change: str) -> None:
    with Database(folder).closing() as database:
        database.put(row(1))
        with closing(sqlite3.connect(folder / FILE)) as other, other:
            other.execute(f"UPDATE answers SET {change}")
        with pytest.raises(Damaged):
            database.get(row(1).key)
        assert [type(found) for found in database.rows()] == [Damaged]


def test_an_answer_is_found_under_its_own_key_only(folder: Path) -> None:
    with Database(folder).closing() as database:
        database.put(row(1))
        with closing(sqlite3.connect(folder / FILE)) as other, other:
            other.execute("UPDATE answers SET key = ?", (row(2).key.text,))
        with pytest.raises(Damaged, match="not its own"):
            database.get(row(2).key)


def test_a_damaged_answer_is_sought_again(folder: Path) -> None:
    keeps = Keeps(folder)
    keeps.ask(query())
    with closing(sqlite3.connect(folder / FILE)) as other, other:
        other.execute("UPDATE answers SET answer = 'nonsense'")
    answered, problem = keeps.ask(query())
    assert (answered.cached, len(ASKED), problem) == (False, 2, None)
    assert keeps.ask(query())[0].cached


def test_the_folder_is_nothing_to_commit_or_to_save(folder: Path) -> None:
    Database(folder).close()
    assert (folder / ".gitignore").read_text() == "*\n"
    assert (folder / "CACHEDIR.TAG").read_text().startswith("Signature: 8a477f597d28d172")


# --- no room, no right, no file ------------------------------------------------------------------


def garbage(folder: Path) -> None:
    folder.mkdir()
    (folder / FILE).write_bytes(b"no database at all " * 999)


def cut_off(folder: Path) -> None:
    with Database(folder).closing() as database:
        for number in range(200):
            database.put(row(number))
    content = (folder / FILE).read_bytes()
    (folder / FILE).write_bytes(content[: len(content) // 2])


def other_table(folder: Path) -> None:
    folder.mkdir()
    with closing(sqlite3.connect(folder / FILE)) as other, other:
        other.execute("CREATE TABLE answers (key TEXT)")


@pytest.mark.parametrize(
    "spoil",
    [garbage, cut_off, other_table, lambda folder: folder.write_text("a file")],
    ids=["garbage", "cut off", "another table", "no folder"],
)
def test_a_file_that_cannot_be_used_is_told_once(
    folder: Path, spoil: Callable[[Path], object]
) -> None:
    spoil(folder)
    with keeping(folder, BELIEVING) as keeper:
        answers = [keeper.ask(query(shift), Counting(), 1.0, since=0.0) for shift in (0.5, -0.5)]
        first = keeper.problem
        keeper.ask(query(0.25), Counting(), 1.0, since=0.0)
        assert keeper.problem == first
    assert first is not None
    assert first.startswith("answers cannot be ")
    assert str(folder) in first
    kinds = [type(answered.answer.verdict) for answered in answers]
    assert kinds == [Verified, Falsified]


def test_a_full_disk_is_told_and_room_is_found_again(folder: Path) -> None:
    with keeping(folder, BELIEVING) as keeper:
        assert keeper.database is not None
        connection = keeper.database._connection
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages}")
        # Some fit into the pages there are.
        for number in range(1, 60):
            answered = keeper.ask(query(number / 64), Counting(), 1.0, since=0.0)
            assert isinstance(answered.answer.verdict, Verified)
        assert keeper.problem is not None
        assert "full" in keeper.problem
        connection.execute("PRAGMA max_page_count = 100000")
        keeper.ask(query(60 / 64), Counting(), 1.0, since=0.0)
        assert keeper.ask(query(60 / 64), Counting(), 1.0, since=0.0).cached


def limited(folder: Path) -> None:
    """A process whose files may have 64 KiB: SQLite meets what it would on a full disk."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, 2**16))
    with keeping(folder, BELIEVING) as keeper:
        verdicts = [
            keeper.ask(query(number / 64), Counting(), 1.0, since=0.0).answer.verdict
            for number in range(1, 100)
        ]
        told = keeper.problem
    os._exit(0 if told and all(isinstance(v, Verified) for v in verdicts) else 1)


@LINUX
def test_files_that_may_not_grow_cost_no_verdict(folder: Path) -> None:
    assert in_a_process(limited, folder) == 0
    # What there was room for is there, and whole.
    with Database(folder).closing() as database:
        rows = list(database.rows())
    assert 0 < len(rows) < 99
    assert all(isinstance(each, Row) for each in rows)


@pytest.fixture
def open_folder() -> Generator[Path]:
    """A folder that any user may enter, which pytest's own is not."""
    path = Path(tempfile.mkdtemp())
    path.chmod(0o755)
    yield path / "kept"
    shutil.rmtree(path)


def as_nobody(do: Callable[..., bool], *arguments: object) -> None:
    if os.geteuid() == 0:
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    os._exit(0 if do(*arguments) else 1)


def reads_only(folder: Path) -> bool:
    with keeping(folder, BELIEVING) as keeper:
        known = keeper.ask(query(0.5), Counting(), 1.0, since=0.0)
        new = keeper.ask(query(-0.5), Counting(), 1.0, since=0.0)
        told = keeper.problem or ""
    verdicts = (known.answer.verdict, new.answer.verdict)
    kinds = isinstance(verdicts[0], Verified), isinstance(verdicts[1], Falsified)
    return known.cached and not new.cached and all(kinds) and "cannot be kept" in told


@LINUX
def test_a_store_that_may_only_be_read_is_read(open_folder: Path) -> None:
    # What the process loads must be loaded before it is nobody, who may not read it.
    Keeps(open_folder).ask(query(0.5))
    Keeps(open_folder.with_name("other")).ask(query(-0.5))
    for path in (*open_folder.iterdir(), open_folder):
        path.chmod(0o555 if path.is_dir() else 0o444)
    assert in_a_process(as_nobody, reads_only, open_folder) == 0


def makes_nothing(folder: Path) -> bool:
    with keeping(folder, BELIEVING) as keeper:
        answered = keeper.ask(query(0.5), Counting(), 1.0, since=0.0)
        told = keeper.problem or ""
    return isinstance(answered.answer.verdict, Verified) and "ermission denied" in told


@LINUX
def test_a_folder_that_cannot_be_made_costs_no_verdict(open_folder: Path) -> None:
    open_folder.parent.chmod(0o555)
    assert in_a_process(as_nobody, makes_nothing, open_folder) == 0
    assert not open_folder.exists()


# --- several processes ---------------------------------------------------------------------------


def writes(folder: Path, first: int, count: int, barrier: Any) -> None:
    barrier.wait()
    with Database(folder).closing() as database:
        for number in range(first, first + count):
            database.put(row(number))
            assert database.get(row(number).key) == row(number)


@LINUX
@pytest.mark.parametrize("exists", [False, True])
def test_processes_on_one_store_lose_nothing(folder: Path, exists: bool) -> None:
    if exists:
        Database(folder).close()
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(4)
    processes = [
        # Half of what each writes is also written by the next.
        context.Process(target=writes, args=(folder, 25 * number, 50, barrier))
        for number in range(4)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 4
    with Database(folder).closing() as database:
        assert {found.key.query for found in database.rows()} == {  # type: ignore[union-attr]
            f"query {number}" for number in range(125)
        }


@LINUX
def test_many_processes_make_the_file_at_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    for attempt in range(10):
        barrier = context.Barrier(3)
        arguments = [(tmp_path / str(attempt), number, 1, barrier) for number in range(3)]
        processes = [context.Process(target=writes, args=each) for each in arguments]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        assert [process.exitcode for process in processes] == [0] * 3


def test_a_file_that_somebody_holds_costs_no_verdict(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("specdsl.run.store.database.BUSY", 0.1)
    Database(folder).close()
    with closing(sqlite3.connect(folder / FILE, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        answered, problem = Keeps(folder).ask(query())
    assert isinstance(answered.answer.verdict, Verified)
    assert "locked" in problem


def writes_and_tells(folder: Path, told: Any) -> None:
    number = 0
    with Database(folder).closing() as database:
        while True:
            database.put(row(number))
            told.send(number)
            number += 1


@LINUX
def test_what_was_written_survives_the_writer(folder: Path) -> None:
    """Killed at a random moment, ten times: every row that was told of is there."""
    draw = random.Random(7)
    context = multiprocessing.get_context("fork")
    for _ in range(10):
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=writes_and_tells, args=(folder, theirs))
        process.start()
        theirs.close()
        last = ours.recv()
        time.sleep(draw.uniform(0, 0.02))
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        try:
            while True:
                last = ours.recv()
        except EOFError:
            ours.close()
        with Database(folder).closing() as database:
            assert all(database.get(row(number).key) for number in range(last + 1))
            (whole,) = database._connection.execute("PRAGMA integrity_check").fetchone()
            assert whole == "ok"
