"""Examples for every diagnostic code: one that fails, and what it looks like when mended.

They are data: a TOML file for each group of codes, and what specdsl says of each failing example in
`shown/`. A test runs both through the tool and holds `shown/` against what it says.
"""

from __future__ import annotations

import base64
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

FOLDER = Path(__file__).parent
SHOWN = FOLDER / "shown"
DEFAULT_COMMAND = "specdsl check-syntax example.spec"


@dataclass(frozen=True, slots=True)
class File:
    """A file of an example. `says` describes content that is not text."""

    content: bytes
    says: str | None = None


@dataclass(frozen=True, slots=True)
class Example:
    """Files, and the arguments of the command that is run beside them; `folders` are made first."""

    command: str
    files: Mapping[str, File]
    folders: tuple[str, ...] = ()

    def write(self, folder: Path) -> None:
        """Make the files and folders in `folder`."""
        for name in self.folders:
            (folder / name).mkdir(parents=True)
        for name, file in self.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(file.content)


@dataclass(frozen=True, slots=True)
class Explanation:
    """The examples for one code, or a `note` that says why there are none."""

    failing: Example | None
    passing: Example | None
    note: str | None


def explanation_of(code: str) -> Explanation | None:
    """What there is for a code; None for a code without an entry."""
    tables = _tables(code[:3] if code.startswith("E") else "W")
    entry = tables.get(code)
    if entry is None:
        return None
    shared = tables.get("files", {})
    return Explanation(
        failing=_example(entry.get("failing"), shared),
        passing=_example(entry.get("passing"), shared),
        note=cast("str | None", entry.get("note")),
    )


def shown_for(code: str) -> str | None:
    """What specdsl says of the failing example; None where nothing is kept."""
    path = SHOWN / f"{code}.txt"
    return path.read_text(encoding="utf-8").rstrip("\n") if path.is_file() else None


_Table = Mapping[str, Any]


@lru_cache(maxsize=1)
def _tables(group: str) -> Mapping[str, _Table]:
    path = FOLDER / f"{group}.toml"
    return tomllib.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _example(table: _Table | None, shared: _Table) -> Example | None:
    """Keys of the table are names of files, or of folders where the value is empty."""
    if table is None:
        return None
    given = {name: value for name, value in table.items() if name != "command"}
    return Example(
        command=cast(str, table.get("command", DEFAULT_COMMAND)),
        files={name: _file(value, shared) for name, value in given.items() if value != {}},
        folders=tuple(name for name, value in given.items() if value == {}),
    )


def _file(value: str | _Table, shared: _Table) -> File:
    """A text, `{ base64, says }`, `{ text, times, says }` for a long one, or `{ same_as }`."""
    if isinstance(value, str):
        return File(value.encode())
    if "same_as" in value:
        return _file(shared[value["same_as"]], shared)
    if "base64" in value:
        return File(base64.b64decode(value["base64"], validate=True), value["says"])
    return File(value["text"].encode() * value["times"], value["says"])
