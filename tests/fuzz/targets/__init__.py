"""Everything that is fuzzed. A new reader of files gets a record here."""

from __future__ import annotations

from tests.fuzz.target import Target
from tests.fuzz.targets import (
    arguments,
    certificates,
    checkpoints,
    data,
    onnx,
    specs,
    store,
    tables,
    tensors,
    vnnlib,
)

TARGETS: tuple[Target, ...] = (
    *specs.TARGETS,
    *arguments.TARGETS,
    *onnx.TARGETS,
    *vnnlib.TARGETS,
    *data.TARGETS,
    *tensors.TARGETS,
    *tables.TARGETS,
    *checkpoints.TARGETS,
    *certificates.TARGETS,
    *store.TARGETS,
)
BY_NAME = {target.name: target for target in TARGETS}
