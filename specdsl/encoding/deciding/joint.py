"""All cases over one input set as one program, which chooses a case and minimises its margin.

Source: one program for all classes, as Tjeng et al. 2019, arXiv:1711.07356, maximise over targets.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from specdsl.encoding.encode import EncodedGraph, encode_case, upper_ends, worst_range
from specdsl.encoding.model.linear_model import LinearModel, SparseTerms
from specdsl.query.query import Atom


def encode_joint(encoded: EncodedGraph, cases: Sequence[Sequence[Atom]], name: str) -> LinearModel:
    """Minimise `worst` over all points and choices: `margin_k <= worst + M (1 - chosen)` for every
    atom of every case, where one is `chosen` and M leaves the margins of the others alone.

    `worst` is the last column. Raises ValueError where a case has no atoms, or there is none.
    """
    if len(cases) == 1:
        return encode_case(encoded, cases[0], name)
    if not cases or not all(cases):
        raise ValueError("a case without atoms has nothing to minimise")
    builder = encoded.encoder.builder.copy()
    count = len(cases)
    indices = np.arange(count, dtype=np.int64)
    ranges = np.array([worst_range(encoded, atoms) for atoms in cases])
    low, high = ranges.min(0)
    chosen = builder.add_columns("case", indices, np.zeros(count), np.ones(count), whole=True)
    ends = np.array([low]), np.array([high])
    worst = int(builder.add_columns("worst", indices[:1], *ends, whole=False)[0])
    once = SparseTerms.of(np.zeros(count, dtype=np.int64), chosen, np.ones(count))
    builder.add_rows("one_case", indices[:1], once, 1.0, 1.0)
    for case, atoms in enumerate(cases):
        rows = np.unique(np.array([a.index for a in atoms], dtype=np.int64))
        margins, size = encoded.margins.at(rows), rows.size
        above = np.maximum(upper_ends(encoded, rows) - low, 0.0)
        linked = np.flatnonzero(margins.columns >= 0)
        place = np.arange(size, dtype=np.int64)
        terms = SparseTerms.of(
            np.concatenate([place, place, linked]),
            np.concatenate(
                [np.full(size, worst), np.full(size, chosen[case]), margins.columns[linked]]
            ),
            np.concatenate([np.ones(size), -above, -margins.slopes[linked]]),
        )
        # worst - slope z - above chosen >= offset - above
        builder.add_rows(f"margin_{case}", rows, terms, margins.offsets - above, np.inf)
    return builder.build(name, worst, encoded.inputs)
