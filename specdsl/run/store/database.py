"""The file that answers are kept in: SQLite, one row an answer, each written whole or not at all.

Write-ahead logging lets several processes read and write at a time, and loses nothing that was
written when one of them is killed; only when the machine itself goes down may the last rows be
missing.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

from specdsl.run.store.key import Key
from specdsl.run.store.row import Row

FILE = "results-1.sqlite"
"""The number is that of the format. Another format is another file, and no version reads two."""

BUSY = 30.0
"""Seconds to wait for another process, which holds the file for milliseconds only."""
PAUSE = 0.02

TABLE = """CREATE TABLE IF NOT EXISTS answers (
  key TEXT PRIMARY KEY, query TEXT NOT NULL, backend TEXT NOT NULL, versions TEXT NOT NULL,
  semantics TEXT NOT NULL, answer TEXT NOT NULL, limit_seconds REAL, seconds REAL NOT NULL,
  made REAL NOT NULL, origin TEXT NOT NULL, certificate BLOB, checksum TEXT NOT NULL)"""

COLUMNS = (
    "query, backend, versions, semantics, answer, limit_seconds, seconds, made, origin, "
    "certificate, checksum, key"
)
PUT = f"INSERT OR REPLACE INTO answers ({COLUMNS}) VALUES ({', '.join('?' * 12)})"

# So that git and backups leave out what can be computed again: bford.info/cachedir.
BESIDE = {
    ".gitignore": "*\n",
    "CACHEDIR.TAG": "Signature: 8a477f597d28d172789f06886806bc55\n",
}


class Damaged(Exception):
    """A row that does not hold what was written. `key`: under which it stands."""

    def __init__(self, key: str, problem: str) -> None:
        self.key = key
        super().__init__(f"row {key[:12]} {problem}")


class Database:
    """Opened for reading and writing, or for reading alone where `read_only` says why.

    Every method, the constructor too, raises sqlite3.Error for a file that is damaged, locked for
    longer than `BUSY`, or has no room; the constructor OSError where the folder cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        self.read_only: str | None = None
        try:
            _furnish(folder)
            with _in_words():
                self._connection = _opened(self.path)
        except (OSError, sqlite3.OperationalError) as error:
            if not self.path.is_file():
                raise
            with _in_words():
                self._connection = _opened_to_read(self.path)
            self.read_only = words(error)

    def close(self) -> None:
        """Let the file go. Of a process that ends without, nothing is lost."""
        self._connection.close()

    def closing(self) -> AbstractContextManager[Database]:
        """Itself, closed at the end of the block."""
        return closing(self)

    def get(self, key: Key) -> Row | None:
        """The row of a key. Raises Damaged."""
        query = f"SELECT {COLUMNS} FROM answers WHERE key = ?"
        with _in_words():
            found = self._connection.execute(query, (key.text,)).fetchone()
        return None if found is None else _row(found)

    def put(self, row: Row) -> None:
        """Write a row, in the place of one with its key."""
        key = row.key
        values = (row.answer, row.limit, row.seconds, row.made, row.origin, row.certificate)
        parts = (key.query, key.backend, key.versions, key.semantics)
        with _in_words():
            self._connection.execute(PUT, (*parts, *values, row.checksum, key.text))

    def rows(self) -> Iterator[Row | Damaged]:
        """All rows, the oldest first."""
        query = f"SELECT {COLUMNS} FROM answers ORDER BY made, key"
        with _in_words():
            for found in self._connection.execute(query):
                try:
                    yield _row(found)
                except Damaged as error:
                    yield error

    def delete(self, keys: list[str]) -> None:
        """Take rows out, all or none, and give their room back."""
        with _in_words(), self._connection:
            self._connection.execute("BEGIN IMMEDIATE")
            marked = ((key,) for key in keys)
            self._connection.executemany("DELETE FROM answers WHERE key = ?", marked)
        self._connection.execute("VACUUM")

    def impatient(self) -> None:
        """From now on, wait for another process only shortly."""
        self._connection.execute("PRAGMA busy_timeout = 500")


@contextmanager
def _in_words() -> Generator[None]:
    """What SQLite says of a damaged file may quote it, in bytes that are no text."""
    try:
        yield
    except UnicodeDecodeError as error:
        raise sqlite3.DatabaseError("the file is damaged") from error


def remove(folder: Path) -> None:
    """Take the file away, whatever is in it, with what SQLite lays beside it."""
    for end in ("", "-wal", "-shm"):
        (folder / (FILE + end)).unlink(missing_ok=True)


def _row(found: tuple[object, ...]) -> Row:
    *content, certificate, checksum, key = found
    query, backend, versions, semantics, *rest = content
    row = Row(Key(query, backend, versions, semantics), *rest, certificate)  # type: ignore[arg-type]
    if row.key.text != key:
        raise Damaged(str(key), "stands under a key that is not its own")
    if row.checksum != checksum:
        raise Damaged(str(key), "is not what was written")
    return row


def _furnish(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in BESIDE.items():
        if not (folder / name).exists():
            (folder / name).write_text(content, encoding="utf-8")


def _opened(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=BUSY, isolation_level=None)
    give_up = time.monotonic() + BUSY
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            # Without waiting for the disk at each row: killed processes lose nothing by it.
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute(TABLE)
            return connection
        except sqlite3.OperationalError as error:
            # Whoever makes the file holds it for a moment in which others are refused at once.
            if "locked" not in str(error) or time.monotonic() > give_up:
                connection.close()
                raise
            time.sleep(PAUSE)


def _opened_to_read(path: Path) -> sqlite3.Connection:
    """Where files beside it cannot be made: as one that nobody changes, which needs none."""
    connection = sqlite3.connect(f"{path.resolve().as_uri()}?immutable=1", uri=True)
    with closing(connection.cursor()) as cursor:
        cursor.execute("SELECT 1 FROM answers LIMIT 1").fetchone()
    return connection


def words(error: OSError | sqlite3.Error) -> str:
    """What an error says, without the file, which the reader knows."""
    return (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
