"""The reference lists what the tables hold, word for word: `python -m tests.docs.test_tables`."""

from __future__ import annotations

from pathlib import Path

from specdsl.language.layer_schemas import INITIALIZERS, LAYERS, SKIPS, WEIGHTS
from specdsl.language.schemas import BACKENDS, QUERY_REPORTS, READERS, REPORTS, Table
from specdsl.language.training_schemas import LOSSES, OPTIMIZERS, REGULARIZERS, SCHEDULES
from tests.docs.pages import with_parts
from tests.docs.tables import rows

REFERENCE = Path(__file__).parents[2] / "docs" / "language.md"
TABLES: dict[str, Table] = {
    "backends": BACKENDS,
    "reports": REPORTS,
    "query reports": QUERY_REPORTS,
    "readers": READERS,
    "layers": LAYERS,
    "skips": SKIPS,
    "initializers": INITIALIZERS,
    "weights": WEIGHTS,
    "losses": LOSSES,
    "optimizers": OPTIMIZERS,
    "regularizers": REGULARIZERS,
    "schedules": SCHEDULES,
}


def with_tables(text: str) -> str:
    """The page with its tables made anew."""
    head = "\n| word | meaning |\n|---|---|\n"
    return with_parts(text, {name: f"{head}{rows(table)}\n" for name, table in TABLES.items()})


def test_the_reference_has_the_tables() -> None:
    text = REFERENCE.read_text()
    assert text == with_tables(text)


if __name__ == "__main__":
    REFERENCE.write_text(with_tables(REFERENCE.read_text()))
