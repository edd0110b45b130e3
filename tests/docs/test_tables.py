"""The reference lists what the tables hold, word for word: `python -m tests.docs.test_tables`."""

from __future__ import annotations

import re
from pathlib import Path

from specdsl.language.layer_schemas import INITIALIZERS, LAYERS, SKIPS, WEIGHTS
from specdsl.language.schemas import BACKENDS, QUERY_REPORTS, READERS, REPORTS, Table
from specdsl.language.training_schemas import LOSSES, OPTIMIZERS, REGULARIZERS, SCHEDULES
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
    """The page with every table between its marks made anew."""
    for name, table in TABLES.items():
        marks = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        body = f"\n| word | meaning |\n|---|---|\n{rows(table)}\n"
        text = marks.sub(lambda m, body=body: m[1] + body + m[2], text)
    return text


def test_the_reference_has_the_tables() -> None:
    text = REFERENCE.read_text()
    assert all(f"<!-- {name} -->" in text for name in TABLES)
    assert text == with_tables(text)


if __name__ == "__main__":
    REFERENCE.write_text(with_tables(REFERENCE.read_text()))
