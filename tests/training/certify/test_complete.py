"""Cascades that end in a complete method settle what bounds leave open, and agree with checks."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest
from torch import Tensor

import specdsl
from specdsl.diagnostics import SpecError
from specdsl.training.certify.cascade import CASCADE, certify
from specdsl.training.certify.complete import complete
from specdsl.training.runtime.attacks.attacks import pgd
from specdsl.training.runtime.claims.claim import (
    Application,
    Atom,
    Claim,
    ball,
    class_rows,
    intersect,
)
from specdsl.training.runtime.networks.network import Trainable
from specdsl.training.runtime.networks.save import save_safetensors
from tests.training.certify.test_cascade import Robust, samples
from tests.training.runtime.digits import trained

SPEC = """spec 1.0
space Image {{ pixels: real[64] in [0, 1] }}
network net: Image -> real[10] {{
  weights = safetensors("net.safetensors")
  layer dense(32)
  layer relu
  layer dense(10)
}}
dataset digits: (Image, label[10]) = sklearn("digits") {{ scale = 1/16 }}
property robust(x, y, r) = forall z in norm_ball(x, r, linf) & Image: argmax(net(z)) == y
check forall (x, y) in digits[1000:{stop}]: robust(x, y, {radius})
  using milp(timeout = 60 `s`)
"""
COUNT = 8


def net() -> Trainable:
    return Trainable.of(trained(epochs=5), (64,))


def squared(x: Tensor, y: Tensor) -> Claim:
    """Of the network at squares: no affine function of the variables."""
    region = intersect(ball(x, 0.1))
    atom = Atom((class_rows(y, 10),), x.new_zeros(1, 9))
    return Claim(region, (Application(lambda v: v * v, region),), atom)


@pytest.mark.parametrize("radius", ["2/25", pytest.param("1/50", marks=pytest.mark.slow)])
def test_counts_agree_with_a_check(radius: str, tmp_path: Path) -> None:
    """With no bound and no attack before it, and after both."""
    save_safetensors(net().module, tmp_path / "net.safetensors", "by hand")
    (tmp_path / "t.spec").write_text(SPEC.format(stop=1000 + COUNT, radius=radius))
    (check,) = specdsl.load(tmp_path / "t.spec").check().checks
    words = [result.word for result in check.results]
    assert set(words) <= {"verified", "falsified"}
    claim_of = Robust(float(Fraction(radius)))
    stage = complete("milp", timeout=60)
    assert complete("search", clip=False, steps=4).options == {"clip": False, "steps": Fraction(4)}
    alone = certify(net(), samples(COUNT), claim_of, cascade={"milp": stage})
    whole = certify(
        net(), samples(COUNT), claim_of, cascade={**CASCADE, "milp": stage}, attack=pgd(20)
    )
    for found in (alone, whole):
        assert found.clean is not None
        assert (found.certified, len(found.open)) == (words.count("verified"), 0)
    assert alone.clean == alone.certified + alone.broken["milp"]
    assert whole.adversarial == whole.certified + whole.broken["milp"]


def test_broken_samples_are_counted_and_left() -> None:
    """Without an attack the backend is the first to find what breaks a sample."""
    cascade = {"interval": CASCADE["interval"], "milp": complete("milp", timeout=60)}
    found = certify(net(), samples(COUNT), Robust(0.08), cascade=cascade)
    assert found.broken["interval"] == 0
    assert found.broken["milp"] > 0
    assert found.clean == found.certified + found.broken["milp"] + len(found.open)
    lines = found.table().splitlines()
    assert [line.split()[0] for line in lines] == ["stage", "interval", "milp"]
    assert lines[-1].split()[1:4] == [
        str(found.by["milp"]),
        str(found.broken["milp"]),
        str(len(found.open)),
    ]
    assert f"broken {found.broken['milp']}; open {len(found.open)}" in str(found)


def test_without_time_samples_stay_open() -> None:
    claim_of = Robust(0.05)
    stage = complete("milp", timeout=0)
    found = certify(net(), samples(COUNT), claim_of, cascade={"milp": stage})
    bounds = certify(net(), samples(COUNT), claim_of, cascade={"crown": CASCADE["crown"]})
    assert found.broken["milp"] == 0
    assert found.clean == found.certified + len(found.open)
    assert found.certified <= bounds.certified


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["search", "portfolio"])
def test_other_backends_agree(backend: str) -> None:
    """Where they decide: input splitting gives up on 64 inputs within a second."""
    claim_of = Robust(0.02)
    exact = certify(net(), samples(8), claim_of, cascade={"milp": complete("milp", timeout=60)})
    stage = complete(backend, timeout=1)
    found = certify(net(), samples(8), claim_of, cascade={backend: stage})
    assert found.certified <= exact.certified
    assert found.broken[backend] <= exact.broken["milp"]


def test_an_attack_and_a_backend_never_disagree() -> None:
    """What the attack broke is not asked again, and nothing of it is certified."""
    cascade = {"milp": complete("milp", timeout=60)}
    found = certify(net(), samples(COUNT), Robust(0.08), cascade=cascade, attack=pgd(20))
    assert found.adversarial is not None
    assert found.certified + found.broken["milp"] + len(found.open) == found.adversarial


def test_options_are_those_of_the_backend() -> None:
    assert complete("milp", timeout=1, gap=0.5).options == {"gap": Fraction(1, 2)}
    with pytest.raises(SpecError, match="E0852"):
        complete("mlip")
    with pytest.raises(SpecError, match="E0853"):
        complete("milp", splits=2)


def test_what_a_backend_does_not_take_is_said() -> None:
    stage = complete("milp", timeout=1)
    with pytest.raises(SpecError, match="E0855"):
        certify(net(), samples(2), squared, cascade={"milp": stage})
