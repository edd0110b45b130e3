"""What a cascade of bounds certifies holds, is never less than one of them shows, and adds up."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from torch import Tensor

from specdsl.bounds.regions.region import InputRegion
from specdsl.training.certify.cascade import (
    CASCADE,
    BrokenBound,
    accuracies,
    attacked_accuracies,
    certify,
    clean_accuracies,
)
from specdsl.training.runtime.attacks.attacks import pgd
from specdsl.training.runtime.attacks.points import start
from specdsl.training.runtime.claims.claim import (
    Application,
    Atom,
    Claim,
    ball,
    box,
    class_rows,
    intersect,
    margins_at,
    unchanged,
)
from specdsl.training.runtime.loop.data import Samples
from specdsl.training.runtime.networks.network import Trainable
from tests.training.runtime.digits import batch, trained

COUNT = 60


@cache
def net() -> Trainable:
    return Trainable.of(trained(epochs=5), (64,))


def samples(count: int = COUNT) -> Samples:
    return Samples(*batch(count, 1000))


class Robust:
    """The property of a radius, as scripts define it."""

    def __init__(self, radius: float) -> None:
        self.radius = radius

    def __call__(self, x: Tensor, y: Tensor) -> Claim:
        region = intersect(ball(x, self.radius), box(0.0, 1.0))
        atom = Atom((class_rows(y, 10).to(x),), x.new_zeros(1, 9))
        return Claim(region, (Application(unchanged, region),), atom)


@pytest.mark.parametrize("radius", [0.0, 0.01, 0.03, 0.06, 0.3])
def test_a_cascade_certifies_all_that_one_of_its_bounds_does(radius: float) -> None:
    whole = certify(net(), samples(), Robust(radius))
    for name, bound in CASCADE.items():
        alone = certify(net(), samples(), Robust(radius), cascade={name: bound})
        assert whole.certified >= alone.certified
    assert whole.by["interval"] <= whole.certified
    assert whole.clean is not None
    assert whole.certified + len(whole.open) == whole.clean


@pytest.mark.parametrize("radius", [0.01, 0.03, 0.06])
def test_no_point_violates_what_is_certified(radius: float) -> None:
    given = samples()
    found = certify(net(), given, Robust(radius))
    assert given.labels is not None
    with torch.no_grad():
        correct = net().at(given.inputs).argmax(1) == given.labels
    correct[found.open] = False
    certified = given[correct]
    assert len(certified) == found.certified
    claim = Robust(radius)(certified.inputs, certified.targets)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for _ in range(200):
            points = start(claim.region, "random", generator)
            assert bool((margins_at(net(), claim, points) > 0).all())
    points = pgd(20, restarts=3)(net(), claim, generator)
    with torch.no_grad():
        # What float32 adds up to.
        assert bool((margins_at(net(), claim, points) > -1e-5).all())


def test_counts_add_up_and_are_those_of_other_ways() -> None:
    given, radius = samples(), 0.05
    found = certify(net(), given, Robust(radius), attack=pgd(10))
    assert found.clean is not None
    assert found.adversarial is not None
    with torch.no_grad():
        right = net()(given.inputs).argmax(1) == given.labels
    assert found.clean == int(right.sum())
    assert found.certified <= found.adversarial <= found.clean
    assert found.certified + len(found.open) == found.adversarial
    assert clean_accuracies(net(), given)[0] == pytest.approx(found.clean / COUNT)
    clean, adversarial = attacked_accuracies(net(), given, Robust(radius), pgd(10))
    assert clean == pytest.approx(found.clean / COUNT)
    # The same attack in float32: points differ by rounding, and with them few samples.
    assert adversarial == pytest.approx(found.adversarial / COUNT, abs=0.05)
    cheap = accuracies(net(), given, Robust(radius), "interval")
    assert cheap == pytest.approx((clean, found.by["interval"] / COUNT), abs=1 / COUNT)
    assert f"clean {100 * found.clean / COUNT:.2f} %" in str(found)


def test_how_many_go_at_once_changes_nothing() -> None:
    """More samples than fit in one go give what their parts give."""
    given = samples(300)
    whole = certify(net(), given, Robust(0.03))
    first, rest = (certify(net(), part, Robust(0.03)) for part in (given[:100], given[100:]))
    assert whole.certified == first.certified + rest.certified
    assert torch.equal(whole.open, torch.cat([first.open, rest.open + 100]))


def test_a_wrong_bound_is_caught_by_an_attack() -> None:
    def wrong(net: Trainable, region: InputRegion, rows: Tensor) -> Tensor:
        return rows.new_ones(region.batch, rows.shape[1])

    with pytest.raises(BrokenBound, match="`wrong` certifies what an attack broke"):
        certify(net(), samples(), Robust(0.3), cascade={"wrong": wrong}, attack=pgd(10))


def test_rounding_is_not_taken_for_proof() -> None:
    """A bound that is positive by less than sums may round proves nothing."""

    def barely(net: Trainable, region: InputRegion, rows: Tensor) -> Tensor:
        return rows.new_full((region.batch, rows.shape[1]), 1e-16)

    assert certify(net(), samples(), Robust(0.01), cascade={"barely": barely}).certified == 0


def test_the_network_stays_as_it_is() -> None:
    module = net().module
    module.train()
    before = {key: value.clone() for key, value in module.state_dict().items()}
    certify(net(), samples(10), Robust(0.01), attack=pgd(2))
    accuracies(net(), samples(10), Robust(0.01), "crown")
    assert all(part.training for part in module.modules())
    assert all(torch.equal(module.state_dict()[key], value) for key, value in before.items())
    module.eval()


def test_inputs_may_be_normalized_for_clean_accuracy() -> None:
    """Samples in other units are the same samples where the claim and the point undo it."""
    given = samples()
    halves = Samples(given.inputs / 2, given.labels)

    def claim_of(x: Tensor, y: Tensor) -> Claim:
        return Robust(0.03)(2 * x, y)

    one = certify(net(), given, Robust(0.03))
    other = certify(net(), halves, claim_of, point=lambda x: 2 * x)
    assert (one.clean, one.by) == (other.clean, other.by)


def test_what_has_no_classes_has_no_clean_accuracy() -> None:
    inputs = samples().inputs
    with pytest.raises(ValueError, match="without labels"):
        certify(net(), Samples(inputs), Robust(0.1))
    with pytest.raises(ValueError, match="right classes"):
        clean_accuracies(net(), Samples(inputs, torch.zeros(COUNT)))


def test_where_nothing_is_classified_correctly_nothing_is_certified() -> None:
    given = samples()
    with torch.no_grad():
        wrong = Samples(given.inputs, (net().at(given.inputs).argmax(1) + 1) % 10)
    found = certify(net(), wrong, Robust(0.0), attack=pgd(2))
    assert (found.clean, found.adversarial, found.certified, len(found.open)) == (0, 0, 0, 0)


def test_without_a_property_only_clean_accuracy_is_counted() -> None:
    found = certify(net(), samples(), None)
    clean, _ = clean_accuracies(net(), samples())
    assert found.clean == round(clean * COUNT)
    assert (found.adversarial, found.certified, len(found.open)) == (None, 0, found.clean)
    assert "certified n/a" in str(found)


@pytest.mark.parametrize("radius", [0.01, 0.03])
def test_a_choice_by_one_bound_is_one_by_intervals_too(radius: float) -> None:
    for name in CASCADE:
        _, certified = accuracies(net(), samples(), Robust(radius), name)
        _, by_intervals = accuracies(net(), samples(), Robust(radius), "interval")
        assert certified >= by_intervals
