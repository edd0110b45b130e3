"""Scaled singular values: as numpy says, the others as they were."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from specdsl.backend import Unsupported
from specdsl.training.runtime.networks.svd import scale_singular_values
from tests.training.runtime.digits import network, weights


@pytest.mark.parametrize("factor", [0.0, 0.1])
def test_the_smallest_values_are_scaled_and_the_others_stay(factor: float) -> None:
    net = network()
    before = [np.linalg.svd(w, compute_uv=False) for w, _ in weights(net)]
    biases = [b for _, b in weights(net)]
    done = scale_singular_values(net, 0.4, factor)
    for (weight, bias), values, old, layer in zip(weights(net), before, biases, done, strict=True):
        count = int(0.4 * len(values))
        expected = np.sort(np.r_[values[:-count], factor * values[-count:]])[::-1]
        found = np.linalg.svd(weight, compute_uv=False)
        assert found == pytest.approx(expected, abs=1e-6)
        assert np.array_equal(bias, old)
        assert (layer.scaled, layer.values) == (count, len(values))
        assert layer.largest_scaled == pytest.approx(values[-count])
        assert layer.kept == pytest.approx(values[-count - 1])


def test_a_share_of_0_and_a_factor_of_1_change_nothing() -> None:
    net = network()
    before = [w for w, _ in weights(net)]
    scale_singular_values(net, 0.0, 0.0)
    scale_singular_values(net, 1.0, 1.0)
    for (weight, _), old in zip(weights(net), before, strict=True):
        assert weight == pytest.approx(old, abs=1e-7)


def test_only_the_layers_named_change() -> None:
    net = network()
    before = net[0].weight.detach().clone()
    (done,) = scale_singular_values(net, 0.5, 0.0, layers=["2"])
    assert done.layer == "2"
    assert torch.equal(net[0].weight, before)
    assert np.linalg.matrix_rank(net[2].weight.detach().numpy(), tol=1e-5) == 5
    with pytest.raises(Unsupported, match="`head`, which is no layer") as refused:
        scale_singular_values(net, 0.5, 0.0, layers=["head"])
    assert refused.value.advice == "layers are `0`, `2`"


def test_channels_of_a_transposed_convolution_are_its_second_axis() -> None:
    net = nn.Sequential(nn.ConvTranspose2d(3, 5, 2), nn.Conv2d(5, 2, 3))
    done = scale_singular_values(net, 1.0, 0.0)
    assert [(d.scaled, d.values) for d in done] == [(5, 5), (2, 2)]
    assert done[0].kept is None
    assert float(net[0].weight.detach().abs().max()) <= 1e-6


@pytest.mark.parametrize(("share", "factor"), [(1.2, 0.0), (-0.1, 0.0), (0.5, -1.0)])
def test_other_numbers_are_refused(share: float, factor: float) -> None:
    with pytest.raises(ValueError, match="a share in"):
        scale_singular_values(network(), share, factor)
