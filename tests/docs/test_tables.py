"""The reference lists what the tables hold, word for word: `python -m tests.docs.test_tables`."""

from __future__ import annotations

from pathlib import Path

from specdsl.language.layer_schemas import INITIALIZERS, LAYERS, SKIPS, WEIGHTS
from specdsl.language.preset_schemas import PRESETS
from specdsl.language.schemas import BACKENDS, QUERY_REPORTS, READERS, REPORTS, Schema, Table
from specdsl.language.training_methods import ATTACKS, BOUND_METHODS
from specdsl.language.training_schemas import (
    CERTIFIERS,
    CODES,
    LOSSES,
    MEASURES,
    MULTIPLIERS,
    OPTIMIZERS,
    PRUNINGS,
    REGULARIZERS,
    SCHEDULES,
    SELECTIONS,
    STAGE_SETTINGS,
    STARTS,
    TRAIN_SETTINGS,
    WRITERS,
)
from tests.docs.pages import with_parts
from tests.docs.tables import rows, settings

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
    "bound methods": BOUND_METHODS,
    "attacks": ATTACKS,
    "optimizers": OPTIMIZERS,
    "regularizers": REGULARIZERS,
    "measures": MEASURES,
    "multipliers": MULTIPLIERS,
    "schedules": SCHEDULES,
    "codes": CODES,
    "starts": STARTS,
    "prunings": PRUNINGS,
    "selections": SELECTIONS,
    "certifiers": CERTIFIERS,
    "writers": WRITERS,
    "presets": PRESETS,
}
BLOCKS: dict[str, Schema] = {
    "training settings": TRAIN_SETTINGS,
    "stage settings": STAGE_SETTINGS,
}


def with_tables(text: str) -> str:
    """The page with every table between its marks made anew."""
    bodies = {name: ("word", rows(table)) for name, table in TABLES.items()}
    bodies |= {name: ("setting", settings(block)) for name, block in BLOCKS.items()}
    return with_parts(
        text,
        {n: f"\n| {head} | meaning |\n|---|---|\n{lines}\n" for n, (head, lines) in bodies.items()},
    )


def test_the_reference_has_the_tables() -> None:
    text = REFERENCE.read_text()
    assert text == with_tables(text)


if __name__ == "__main__":
    REFERENCE.write_text(with_tables(REFERENCE.read_text()))
