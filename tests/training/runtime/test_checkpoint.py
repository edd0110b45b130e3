"""A killed training goes on to the same weights; files that do not fit are refused."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from specdsl.diagnostics import SpecError, render
from specdsl.training.runtime.loop.checkpoint import Checkpoint
from tests.conftest import Golden

ROOT = Path(__file__).resolve().parents[3]

# Everything that draws: batches, augmentation, an attack's noise, dropout, NumPy and Python.
SCRIPT = """
import os, random, signal
from pathlib import Path
import numpy as np, torch
from torch import nn
from specdsl.training.runtime.loop.checkpoint import Checkpoint, write_atomically
from specdsl.training.runtime.loop.data import Batches, Samples, shift
from specdsl.training.runtime.loop.log import Means
from specdsl.training.runtime.loop.optimise import optimizer, seeded, step
from specdsl.training.runtime.loop.selection import Best

def train(folder, kill_at):
    generator, attacks = seeded(5, threads=1), torch.Generator().manual_seed(6)
    numbers, dice = np.random.default_rng(7), random.Random(8)
    data = Samples(torch.rand(40, 1, 4, 4), torch.randint(3, (40,)))
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(),
                        nn.Linear(8, 3))
    optimiser = optimizer(net.parameters(), "adam", 1e-2)
    batches, best, means = Batches(data, 16, generator, augment=(shift(1),)), Best(), Means()
    checkpoint = Checkpoint(folder / "last.ckpt", "recipe", net=net, optimizer=optimiser,
                            data=batches, best=best, means=means, attacks=attacks, numbers=numbers,
                            dice=dice)
    checkpoint.resume()
    done = 0
    while batches.epoch < 3:
        for batch in batches:
            noise = torch.randn(batch.x.shape, generator=attacks)
            x = batch.x + (numbers.random() + dice.random()) * noise / 10
            loss = nn.functional.cross_entropy(net(x), batch.y)
            step({"loss": loss}, optimiser, epoch=batches.epoch + 1, clip=1.0)
            means.add({"loss": loss}, len(batch.x))
            done += 1
            checkpoint.save()
            if done == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
        best.offer(net, batches.epoch, -means.values["loss"], None)
        means.clear()
    write_atomically(folder / "end.pt", {"net": net.state_dict(), "best": best.state_dict()})
    return done

# Importing PyTorch takes longer than all of this: the runs that are killed are children.
for kill_at in (2, 4):
    child = os.fork()
    if not child:
        train(Path("broken"), kill_at)
        os._exit(0)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
# The first stopped within an epoch, the second after the last batch of one.
assert train(Path("broken"), 0) == 3
assert train(Path("whole"), 0) == 9
"""


def test_killed_runs_end_with_the_same_weights(tmp_path: Path) -> None:
    for name in ("whole", "broken"):
        (tmp_path / name).mkdir()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-c", SCRIPT], env=environment, cwd=tmp_path, check=True)
    one, other = (
        torch.load(tmp_path / f / "end.pt", weights_only=True) for f in ("whole", "broken")
    )
    assert one["best"]["epoch"] == other["best"]["epoch"]
    assert one["best"]["measure"] == other["best"]["measure"]
    for name, value in one["net"].items():
        assert torch.equal(value, other["net"][name]), name
    for name, value in one["best"]["weights"].items():
        assert torch.equal(value, other["best"]["weights"][name]), name


def test_generators_of_every_kind_go_on(tmp_path: Path) -> None:
    drawn = torch.Generator().manual_seed(1)
    twisted, numbers, dice = (
        np.random.Generator(np.random.MT19937(1)),
        np.random.default_rng(2),
        random.Random(3),
    )
    checkpoint = Checkpoint(tmp_path / "c", "r", a=drawn, b=twisted, c=numbers, d=dice)
    assert not checkpoint.resume()
    checkpoint.save()

    def draws() -> list[float]:
        common = float(torch.rand(()))
        return [
            float(torch.rand((), generator=drawn)),
            twisted.random(),
            numbers.random(),
            dice.random(),
            common,
        ]

    first = draws()
    assert draws() != first
    assert checkpoint.resume()
    assert draws() == first
    assert [p.name for p in tmp_path.iterdir()] == ["c"]


def test_checkpoints_of_another_training_read_as_agreed(
    tmp_path: Path, golden: Golden, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = Path("last.ckpt")
    Checkpoint(path, "one", net=nn.Linear(2, 1)).save()
    with pytest.raises(SpecError) as caught:
        Checkpoint(path, "two", net=nn.Linear(2, 1)).resume()
    golden.check("codes/E1102.txt", render(caught.value.diagnostics[0]))
    with pytest.raises(SpecError, match="other parts than this training has \\(`best`\\)"):
        Checkpoint(path, "one", net=nn.Linear(2, 1), best=nn.Linear(1, 1)).resume()
    with pytest.raises(SpecError, match="does not fit the `net`"):
        Checkpoint(path, "one", net=nn.Linear(3, 1)).resume()
    path.write_bytes(b"PK\x03\x04 cut")
    with pytest.raises(SpecError, match="is damaged"):
        Checkpoint(path, "one", net=nn.Linear(2, 1)).resume()
    torch.save([1], path)
    with pytest.raises(SpecError, match="another version"):
        Checkpoint(path, "one", net=nn.Linear(2, 1)).resume()
    with pytest.raises(SpecError, match="E0854"):
        Checkpoint(Path("absent/last.ckpt"), "one", net=nn.Linear(2, 1)).save()


def test_a_save_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    class Broken:
        def state_dict(self) -> object:
            raise KeyError("on purpose")

        def load_state_dict(self, state_dict: object, /) -> None: ...

    path = tmp_path / "c"
    Checkpoint(path, "r", net=nn.Linear(2, 1)).save()
    content = path.read_bytes()
    with pytest.raises(KeyError):
        Checkpoint(path, "r", net=Broken()).save()
    assert path.read_bytes() == content
