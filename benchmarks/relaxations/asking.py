"""Methods, what each says of every image, and rows that are kept."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import MappingProxyType

import torch

from benchmarks.relaxations.networks import DIGITS, MNIST, Setting, TrainedBy, problem_text
from specdsl.api import load
from specdsl.run.pipeline import Silent
from specdsl.run.result import Result, VerdictWord


@dataclass(frozen=True, slots=True)
class Way:
    """One column of Salman et al. 2019. `using`: as a spec says it; `limit`: seconds an image."""

    using: str
    limit: float = 120.0


WAYS: Mapping[str, Way] = MappingProxyType(
    {
        "PGD": Way("attack"),
        "MILP": Way("milp"),
        "SDP": Way("sdp(bounds = all)", 600.0),
        "triples": Way("lp(bounds = all, multi_neuron = 3)"),
        "pairs": Way("lp(bounds = all, multi_neuron = 2)"),
        "LP-All": Way("lp(bounds = all)"),
        "LP-Last": Way("lp(bounds = last)"),
        "CROWN": Way("incomplete(method = crown)"),
        "LP-Greedy": Way("lp(bounds = greedy)"),
    }
)
WAYS_OF: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        MNIST.name: tuple(name for name in WAYS if name not in ("SDP", "triples")),
        DIGITS.name: tuple(WAYS),
    }
)


@dataclass(frozen=True, slots=True)
class Row:
    """One image by one method. `seconds`: CPU seconds of the process, with all threads; `bound`: on
    the least margin, where the method has one.
    """

    setting: str
    trained: TrainedBy
    method: str
    image: int
    verdict: VerdictWord
    reason: str | None
    bound: float | None
    seconds: float


@dataclass(slots=True)
class _Clock(Silent):
    """CPU seconds of this process in each obligation."""

    began: float = 0.0
    results: list[tuple[Result, float]] = field(default_factory=list[tuple[Result, float]])

    def started(self, id: str) -> None:
        self.began = time.process_time()

    def finished(self, result: object) -> None:
        assert isinstance(result, Result)
        self.results.append((result, time.process_time() - self.began))


def read_rows(path: Path) -> list[Row]:
    """Those that are there."""
    return [Row(**json.loads(x)) for x in path.read_text().splitlines()] if path.exists() else []


def ask(
    setting: Setting, by: TrainedBy, net: torch.nn.Module, method: str, data: Path, count: int
) -> Iterator[Row]:
    """What a method says of the first images."""
    clock = _Clock()
    with tempfile.TemporaryDirectory() as folder:
        if setting.problem == MNIST.problem:
            for kind in ("images-idx3", "labels-idx1"):
                name = f"t10k-{kind}-ubyte.gz"
                (Path(folder) / name).symlink_to((data / name).resolve())
        path = Path(folder) / "problem.spec"
        path.write_text(problem_text(setting, count))
        spec = load(path, allow=[data.resolve()], networks={"net": net})
        way = WAYS[method]
        # What methods prove about real numbers is compared, not their certificates.
        spec.check(using=way.using, timeout=way.limit, observer=clock, trust=["all"])
    assert len(clock.results) == count, "every image was asked about"
    for image, (result, seconds) in enumerate(clock.results):
        assert not result.diagnostics, result.diagnostics
        row = Row(
            setting.name,
            by,
            method,
            image,
            result.verdict,
            result.reason,
            result.bound,
            round(seconds, 4),
        )
        sys.stderr.write(f"{row}\n")
        yield row


def missing(rows: list[Row], setting: Setting, by: TrainedBy, method: str, count: int) -> bool:
    """Whether some image has no row."""
    key = (setting.name, by, method)
    own = {row.image for row in rows if (row.setting, row.trained, row.method) == key}
    return not own.issuperset(range(count))


def write(rows: Iterator[Row], path: Path) -> list[Row]:
    """Keep them all at once: what is half asked is asked again."""
    found = list(rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.writelines(f"{json.dumps(asdict(row))}\n" for row in found)
    return found
