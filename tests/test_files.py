"""Files that may be hostile: every one is read whole or refused with a code."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest

from specdsl.diagnostics import SpecError
from specdsl.files import read_bytes, read_source


def refusal(path: Path, limit: int = 1000) -> str:
    with pytest.raises(SpecError) as caught:
        read_bytes(path, limit=limit)
    return caught.value.diagnostics[0].code


def test_a_file_is_read_whole_and_gzip_is_expanded(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(b"abc")
    (tmp_path / "packed.gz").write_bytes(gzip.compress(b"abc" * 100))
    assert read_bytes(tmp_path / "plain") == b"abc"
    assert read_bytes(tmp_path / "packed.gz") == b"abc" * 100


def test_what_is_no_regular_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert refusal(tmp_path) == "E0502"
    assert refusal(tmp_path / "pipe") == "E0502"
    assert refusal(Path("/dev/null")) == "E0502"


def test_missing_and_forbidden_names_are_unreadable(tmp_path: Path) -> None:
    assert refusal(tmp_path / "missing") == "E0501"
    assert refusal(tmp_path / "nul\0byte") == "E0501"
    assert refusal(tmp_path / ("long" * 1000)) == "E0501"


def test_sizes_are_capped_before_and_after_expansion(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(b"x" * 1001)
    (tmp_path / "bomb.gz").write_bytes(gzip.compress(b"x" * 1_000_000))
    assert refusal(tmp_path / "large") == "E0503"
    assert refusal(tmp_path / "bomb.gz", limit=10_000) == "E0503"


@pytest.mark.parametrize("damage", [slice(0, 10), slice(0, -3), slice(5, None)])
def test_damaged_gzip_is_refused(tmp_path: Path, damage: slice) -> None:
    (tmp_path / "f.gz").write_bytes(gzip.compress(os.urandom(300))[damage])
    assert refusal(tmp_path / "f.gz") == "E0504"


def test_a_spec_is_utf8_with_any_line_ends(tmp_path: Path) -> None:
    (tmp_path / "f.spec").write_bytes(b"\xef\xbb\xbfa\r\nb\rc")
    assert read_source(tmp_path / "f.spec").text == "a\nb\nc"
    (tmp_path / "g.spec").write_bytes(b"\xff\xfe")
    with pytest.raises(SpecError) as caught:
        read_source(tmp_path / "g.spec")
    assert caught.value.diagnostics[0].code == "E0505"
