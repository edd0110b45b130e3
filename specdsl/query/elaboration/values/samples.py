"""Samples of datasets: slices, single samples, and what they are in the types of the spec."""

from __future__ import annotations

from specdsl.diagnostics import SpecError
from specdsl.language.spec import ExactArray, Spec
from specdsl.language.types import RecordType, TensorType, Type
from specdsl.query.elaboration.values.environment import Sample
from specdsl.query.elaboration.values.meaning import DatasetValue
from specdsl.query.elaboration.values.networks import space_shape
from specdsl.query.elaboration.values.regions import FiniteSet, Member
from specdsl.query.elaboration.values.resources import Resources
from specdsl.query.elaboration.values.symbolic import Tensor, constant
from specdsl.source import Span


def sliced(base: DatasetValue, start: int | None, stop: int | None, span: Span) -> DatasetValue:
    """`base[start:stop]`. Raises SpecError E0753 where an end is negative."""
    if (start or 0) < 0 or (stop or 0) < 0:
        raise SpecError.of("E0753", "samples count from 0", span)
    first = base.start + (start or 0)
    ends = [
        end for end in (base.stop, None if stop is None else base.start + stop) if end is not None
    ]
    return DatasetValue(base.name, first, min(ends) if ends else None)


def members(samples: DatasetValue, spec: Spec, resources: Resources, span: Span) -> FiniteSet:
    """The samples one by one; the file is read only where the slice has no end of its own."""
    stop = samples.stop
    if stop is None:
        stop = len(resources.dataset(spec, samples.name))
    indices = range(samples.start, stop)
    return FiniteSet(tuple(Member(Sample(samples.name, i, span), str(i)) for i in indices))


def sample_part(sample: Sample, part: str, spec: Spec, resources: Resources) -> Tensor:
    """The `input` or `label` of a sample.

    Raises SpecError as `Resources.dataset`, E0753 outside the data, E0522 without labels.
    """
    data = resources.dataset(spec, sample.dataset)
    if not 0 <= sample.index < len(data):
        raise SpecError.of(
            "E0753",
            f"`{sample.dataset}` has no sample {sample.index}: it holds {len(data)}",
            sample.span,
            help=f"the last sample is {len(data) - 1}" if len(data) else None,
        )
    if part == "input":
        declared = spec.datasets[sample.dataset].element[0]
        return _typed(data.input(sample.index), declared, spec)
    label = data.label(sample.index)
    if label is None:
        raise SpecError.of("E0522", f"`{sample.dataset}` has no labels", sample.span)
    return constant(label)


def _typed(values: ExactArray, kind: Type, spec: Spec) -> Tensor:
    """In the shape, and with the fields, of the declared type."""
    if isinstance(kind, RecordType) and kind.name in spec.spaces:
        space = spec.spaces[kind.name]
        return Tensor(values.reshape(space_shape(space)), space)
    return Tensor(values.reshape(kind.shape) if isinstance(kind, TensorType) else values)
