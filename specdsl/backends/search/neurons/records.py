"""What a proof needs of a search over inner values."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from specdsl.backends.search.neurons.bounding import Bounder
from specdsl.backends.search.neurons.slopes import as_array, slope_records
from specdsl.bounds.parts.assumed import Steps
from specdsl.bounds.parts.known import Known
from specdsl.bounds.passes.crown import RaisedEntries
from specdsl.certificates.part_records import NeuronProof, PartRecord, RowRecord, StepRecord


def neuron_proof(bounder: Bounder, records: list[PartRecord]) -> NeuronProof:
    """Of the cases of a bounder's group, each with the record of its own part."""
    group, entries = bounder.problem.group, bounder.known.entries
    columns = {n: as_array(c) for n, c in zip(entries.nodes, entries.columns, strict=True)}
    margins = tuple(tuple(a.index for a in atoms) for atoms in group.atoms)
    graph = bounder.known.compiled.graph
    steps = tuple(_whole_step(bounder.known, each) for each in bounder.begun)
    return NeuronProof(group.members, graph, columns, steps, margins, tuple(records))


def _whole_step(known: Known, raised: RaisedEntries) -> StepRecord:
    """Of the whole set."""
    places = slope_records(known, raised.places)
    rows = 2 * len(raised.entries)
    none = RowRecord(places, np.zeros(0, np.int64), np.zeros((rows, 0)))
    return StepRecord(raised.node, as_array(raised.entries), np.zeros((rows, 0)), none)


def step_records(known: Known, steps: Steps) -> Iterator[StepRecord]:
    """Bounds inside, as they were sharpened."""
    for node, stand in steps:
        raised = stand.raised
        places = slope_records(known, raised.places)
        multipliers = as_array(raised.multipliers[0].double())
        rows = RowRecord(places, as_array(stand.numbers), multipliers)
        weights = as_array(raised.weights[0].double())
        yield StepRecord(node, as_array(stand.entries), weights, rows)
