"""What there is to decide in one combination of swept parameters, under names that say which."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from specdsl.language.checking.combinations import Combination
from specdsl.query.elaboration.elaborate import Obligation, elaborate
from specdsl.query.elaboration.questions.optimum import Site, sites

if TYPE_CHECKING:
    from specdsl.query.elaboration.values.resources import Resources


def obligations_of(combination: Combination, resources: Resources) -> tuple[Obligation, ...]:
    """The obligations of a spec; in a sweep their ids end in the values: `robust[7]{eps=2/255}`.

    Raises SpecError as `elaborate` does.
    """
    suffix = combination.suffix
    found = elaborate(combination.spec, resources)
    return tuple(replace(each, id=each.id + suffix) for each in found) if suffix else found


def sites_of(combination: Combination, resources: Resources) -> tuple[Site, ...]:
    """The queries of a spec, named likewise. Raises SpecError as `sites` does."""
    suffix = combination.suffix
    found = sites(combination.spec, resources)
    return tuple(replace(each, id=each.id + suffix) for each in found) if suffix else found
