"""Fixtures of the tests of modules."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.language.modules import ROBUST


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a module in it, `robust.spec`."""
    (tmp_path / "robust.spec").write_text(ROBUST)
    return tmp_path
