"""Slopes that rows took, as records hold them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from specdsl.bounds.kinds.choice import Places
from specdsl.bounds.parts.known import Known
from specdsl.bounds.rows.backward import dense_on
from specdsl.bounds.rows.rows import DenseRows
from specdsl.bounds.rows.windows import WindowRows
from specdsl.certificates.part_records import SHARES, SlopeRecord
from specdsl.graph.graph import NodeId


def slope_records(known: Known, places: Mapping[NodeId, Places]) -> dict[NodeId, SlopeRecord]:
    """Of rows on one part, by node."""
    return {node: _slope_record(known, node, own) for node, own in places.items()}


def _slope_record(known: Known, node: NodeId, own: Places) -> SlopeRecord:
    if own.shares and own.columns is not None:
        return SlopeRecord(_bytes(own.values[0]), as_array(own.columns))
    columns = _columns(known, node)
    if columns is None or (own.slopes is None and not own.shares):
        return SlopeRecord(None, np.zeros(0, np.int64))
    if own.slopes is None:
        return SlopeRecord(
            _bytes(_whole(known, node, own, own.values)[:, columns]), as_array(columns)
        )
    both = torch.stack([_whole(known, node, own, s)[:, columns] for s in own.slopes])
    return SlopeRecord(as_array(both.float()), as_array(columns))


def _columns(known: Known, node: NodeId) -> Tensor | None:
    """The entries that are unstable on the whole set, of an op of one operand."""
    readings = known.readings.get(node, ())
    if len(known.compiled.graph.operands(node)) != 1 or len(readings) != 1:
        return None
    return (readings[0].numbers >= 0).nonzero()[:, 0]


def _whole(known: Known, node: NodeId, own: Places, values: Tensor) -> Tensor:
    """Of every entry, (rows, entries); 0 where rows do not read it."""
    rows = DenseRows(values) if own.windows is None else WindowRows(values, own.windows)
    return dense_on(rows, known.compiled.graph.shapes[node])[0].flatten(1)


def _bytes(values: Tensor) -> Any:
    """Places that are rounded already."""
    return as_array((values * SHARES).round().to(torch.uint8))


def as_array(values: Tensor) -> Any:
    """On the CPU."""
    return values.detach().cpu().numpy()
