"""Samples have the values of the files, and batches come again in the same order."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from specdsl.data import make_dataset
from specdsl.data.csv_table import read_csv
from specdsl.data.idx import read_idx
from specdsl.diagnostics import SpecError
from specdsl.training.runtime.loop.data import Batches, Order, Samples, flip, samples, shift, split


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def numbered(count: int, classes: int = 3) -> Samples:
    """Images that hold their own position."""
    inputs = torch.arange(count, dtype=torch.float32)[:, None, None, None].expand(-1, 1, 4, 4)
    return Samples(inputs.clone(), torch.arange(count) % classes)


def test_samples_are_scaled_and_shifted_as_a_spec_sees_them() -> None:
    data = make_dataset(np.arange(256, dtype=np.uint8).reshape(64, 4), np.arange(64), "a test")
    made = samples(data, scale=Fraction(1, 255), shift=Fraction(-1, 2), shape=(1, 2, 2))
    exact = [float(Fraction(v, 255) - Fraction(1, 2)) for v in range(256)]
    assert torch.equal(made.inputs.reshape(-1), torch.tensor(exact))
    assert made.inputs.dtype == torch.float32
    assert made.shape == (1, 2, 2)
    assert made.labels is not None
    assert made.labels.tolist() == list(range(64))
    assert len(made[10:20]) == 10


def test_samples_of_another_size_are_refused() -> None:
    data = make_dataset(np.zeros((2, 4)), None, "a test")
    with pytest.raises(SpecError, match="E0521"):
        samples(data, shape=(5,))


def test_files_become_samples(tmp_path: Path, shared: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text("a,b,class\n1,2,0\n3,4,1\n")
    read = samples(read_csv(table, "class", labelled=True), scale=0.5)
    assert read.inputs.tolist() == [[0.5, 1.0], [1.5, 2.0]]
    folder = shared / "data" / "mnist"
    images, labels = sorted(folder.glob("*train*images*")), sorted(folder.glob("*train*labels*"))
    if not images or not labels:
        pytest.skip("no MNIST here")
    digits = samples(read_idx(images[0], labels[0]), scale=1 / 255, shape=(1, 28, 28))
    assert digits.inputs.max() == 1
    assert digits.shape == (1, 28, 28)


@given(count=st.integers(1, 40), size=st.integers(1, 12), seed=st.integers(0, 99))
def test_an_epoch_shows_every_sample_once(count: int, size: int, seed: int) -> None:
    batches = Batches(numbered(count), size, generator(seed))
    seen = [int(i) for batch in batches for i in batch.index]
    assert sorted(seen) == list(range(count))
    assert len(batches) == -(-count // size)
    assert batches.time == 1


@given(stop=st.integers(0, 11), order=st.sampled_from(("shuffled", "balanced", "kept")))
def test_batches_go_on_exactly_where_a_saved_state_was(stop: int, order: Order) -> None:
    def made(seed: int) -> Batches:
        return Batches(numbered(19), 5, generator(seed), order=order, augment=(shift(1), flip()))

    def three_epochs(batches: Batches, upto: int | None = None) -> list[Tensor]:
        found: list[Tensor] = []
        while batches.epoch < 3:
            for batch in batches:
                found.append(batch.x)
                if upto is not None and len(found) == upto:
                    return found
        return found

    whole = three_epochs(made(1))
    stopped = made(1)
    if stop:
        three_epochs(stopped, stop)
    other = made(2)
    other.load_state_dict(stopped.state_dict())
    rest = three_epochs(other)
    assert len(rest) == len(whole) - stop
    assert all(torch.equal(a, b) for a, b in zip(rest, whole[stop:], strict=True))


def test_a_balanced_epoch_shows_all_classes_equally_often() -> None:
    labels = torch.tensor([0] * 20 + [1] * 7 + [2] * 3)
    batches = Batches(Samples(torch.zeros(30, 1), labels), 8, generator(), order="balanced")
    seen = torch.cat([batch.index for batch in batches])
    assert torch.bincount(labels[seen]).tolist() == [10, 10, 10]
    # No member of a class comes a third time before all have come twice.
    assert torch.bincount(seen[labels[seen] == 1]).max() == 2
    assert sum(len(batch.x) for batch in batches) == 30


def test_a_split_loses_nothing_and_doubles_nothing() -> None:
    data = numbered(20)
    train, validation = split(data, 6, generator())
    assert (len(train), len(validation)) == (14, 6)
    both = torch.cat([train.inputs, validation.inputs])[:, 0, 0, 0]
    assert both.sort().values.tolist() == list(range(20))


def test_shifted_images_hold_the_same_picture_elsewhere() -> None:
    x = torch.zeros(200, 2, 5, 5)
    x[:, 0, 2, 2], x[:, 1, 2, 2] = 1, 2
    moved = shift(1)(x, generator())
    assert torch.equal(moved.sum((2, 3)), x.sum((2, 3)))
    places = {tuple(image[0].nonzero()[0].tolist()) for image in moved}
    assert places == {(i, j) for i in (1, 2, 3) for j in (1, 2, 3)}
    assert torch.equal(moved[:, 1], 2 * moved[:, 0])
    assert torch.equal(shift(0)(x, generator()), x)


def test_about_every_other_image_is_mirrored() -> None:
    x = torch.rand(200, 1, 3, 3)
    turned = (flip()(x, generator()) == x.flip(-1)).all((1, 2, 3))
    assert 70 < int(turned.sum()) < 130
