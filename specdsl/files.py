"""Reading files that may be hostile: regular files only, capped size, capped gzip expansion."""

from __future__ import annotations

import gzip
import io
import json
import os
import stat
import zlib
from pathlib import Path
from typing import Any

from specdsl.diagnostics import SpecError
from specdsl.source import Source

# 512 MiB: the largest network of the VNN-COMP benchmarks is 0.5 GiB; a spec is a few KiB.
MAX_BYTES = 512 * 2**20
MAX_SPEC_BYTES = 16 * 2**20


def read_bytes(path: Path, *, limit: int = MAX_BYTES) -> bytes:
    """The content of a regular file, decompressed where its name ends in `.gz`.

    Raises SpecError (no span): E0501 missing or unreadable, E0502 not a regular file, E0503 larger
    than `limit` bytes (before or after decompression), E0504 damaged gzip data.
    """
    content = _read_regular(path, limit)
    if path.suffix != ".gz":
        return content
    try:
        return _expand(content, limit, path)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise SpecError.of("E0504", f"`{path}` is not valid gzip data ({error})") from error


def read_source(path: Path) -> Source:
    """A spec file as text. Raises SpecError as `read_bytes`, and E0505 where it is not UTF-8."""
    return source_of(str(path), read_bytes(path, limit=MAX_SPEC_BYTES))


def source_of(name: str, content: bytes) -> Source:
    """The text that `content` encodes. Raises SpecError E0505 where it is not UTF-8."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        message = f"`{name}` is not UTF-8 text (byte {error.start})"
        raise SpecError.of("E0505", message) from error
    return Source(name, text.replace("\r\n", "\n").replace("\r", "\n"))


def json_of(text: str | bytes) -> Any:
    """The value of a JSON text. Raises ValueError where it is none, or nested beyond what is read.

    What `json.loads` raises besides: numbers of more digits than Python reads are a ValueError of
    no kind of its own, and nesting a RecursionError.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _read_regular(path: Path, limit: int) -> bytes:
    try:
        # O_NONBLOCK: opening a FIFO without a writer must not hang.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | getattr(os, "O_CLOEXEC", 0))
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise SpecError.of("E0502", f"`{path}` is not a regular file")
        if status.st_size > limit:
            raise _too_large(path, limit)
        with open(handle, "rb", closefd=False) as file:
            return file.read(limit + 1)
    except OSError as error:
        raise _unreadable(path, error) from error
    finally:
        os.close(handle)


def _unreadable(path: Path, error: OSError | ValueError) -> SpecError:
    reason = error.strerror if isinstance(error, OSError) else str(error)
    return SpecError.of("E0501", f"cannot read `{path}`: {reason}")


def _expand(content: bytes, limit: int, path: Path) -> bytes:
    with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
        expanded = file.read(limit + 1)
    if len(expanded) > limit:
        raise _too_large(path, limit)
    return expanded


def _too_large(path: Path, limit: int) -> SpecError:
    return SpecError.of("E0503", f"`{path}` holds more than {limit // 2**20} MiB")
