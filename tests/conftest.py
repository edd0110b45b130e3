"""For all tests: what hypothesis draws, golden files, and the data folder beside the project."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

GOLDEN = Path(__file__).parent / "golden"
SHARED = Path(__file__).resolve().parents[2] / "shared"

# Here, since `@settings` of a test takes what it leaves open from the profile that is loaded when
# its module is imported. `fixed` draws the same in every run; `random` draws anew, and says of a
# failure how to see it again. Shared machines are too uneven to judge by time.
UNTIMED = settings(
    settings.get_profile("default"), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("fixed", UNTIMED, derandomize=True, database=None)
settings.register_profile("random", UNTIMED, print_blob=True)
settings.load_profile(os.environ.get("SPECDSL_TESTS", "fixed"))

# Of commands, those in processes of their own too: every answer is asked for, none is left behind,
# and all is decided where a debugger sees it. Tests of workers and of the store ask for these.
os.environ.update(SPECDSL_NO_CACHE="1", SPECDSL_JOBS="0")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="rewrite the golden files")


class Golden:
    """Compares text with the file of that name, or rewrites it."""

    def __init__(self, update: bool) -> None:
        self.update = update

    def check(self, name: str, text: str) -> None:
        path = GOLDEN / name
        text = text if text.endswith("\n") else text + "\n"
        if self.update:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        assert path.exists(), f"no golden file {name}: run pytest --update-golden and read it"
        assert text == path.read_text()


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    return Golden(bool(request.config.getoption("--update-golden")))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of shared data; tests that need it skip where it is absent."""
    if not SHARED.is_dir():
        pytest.skip("the shared data folder is not beside the project")
    return SHARED
