"""What a training says while it runs: a line an epoch, the same as JSON beside it, progress."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Literal, Protocol, TypeVar

from rich.console import Console
from rich.progress import track
from torch import Tensor

from specdsl.diagnostics import SpecError
from specdsl.files import json_of, read_bytes

NOT_COMPUTED = "n/a"

Item = TypeVar("Item")
Item_co = TypeVar("Item_co", covariant=True)


class SizedIterable(Protocol[Item_co]):
    """What can be gone through and knows its length: `Batches`, a list."""

    def __iter__(self) -> Iterator[Item_co]: ...

    def __len__(self) -> int: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochRecord:
    """One epoch in numbers. None is what was not computed, never a guess.

    `weights` by the names of the terms, and other scheduled numbers; `terms`: means over the
    samples of the epoch; `clean`, `adversarial`, `certified`: accuracies as parts of 1;
    `certified_by`: the bound that certified; `unstable`: ReLUs whose sign is open, on average for a
    sample; `multipliers` of the constraints; `steps`: of an attack that may end early, on average.
    """

    epoch: int
    eps: float | None = None
    weights: Mapping[str, float] = field(default_factory=dict)
    terms: Mapping[str, float] = field(default_factory=dict)
    clean: float | None = None
    adversarial: float | None = None
    certified: float | None = None
    certified_by: str | None = None
    unstable: float | None = None
    multipliers: Mapping[str, float] = field(default_factory=dict)
    steps: float | None = None
    lr: float | None = None
    cpu_seconds: float | None = None


def line(record: EpochRecord, epochs: int) -> str:
    """The record on one line, for people."""
    width = len(str(epochs))
    parts = [f"epoch {record.epoch:>{width}}/{epochs}", f"eps {_number(record.eps)}"]
    parts += [f"{name} {_number(value)}" for name, value in record.weights.items()]
    parts += [_term(name, value) for name, value in record.terms.items()]
    certified = f"certified {_percent(record.certified)}"
    if record.certified is not None and record.certified_by is not None:
        certified += f" ({record.certified_by})"
    parts += [
        f"clean {_percent(record.clean)}",
        f"adversarial {_percent(record.adversarial)}",
        certified,
        f"unstable {_decimal(record.unstable)}",
    ]
    parts += [f"multiplier {name} {_number(value)}" for name, value in record.multipliers.items()]
    if record.steps is not None:
        parts.append(f"steps {_decimal(record.steps)}")
    seconds = "" if record.cpu_seconds is None else " s"
    parts += [f"lr {_number(record.lr)}", f"cpu {_decimal(record.cpu_seconds)}{seconds}"]
    return " | ".join(parts)


def _term(name: str, value: float) -> str:
    return f"{name} = {_number(value)}"


def _number(value: float | None) -> str:
    return NOT_COMPUTED if value is None else f"{value:.4g}"


def _percent(value: float | None) -> str:
    return NOT_COMPUTED if value is None else f"{100 * value:.2f} %"


def _decimal(value: float | None) -> str:
    return NOT_COMPUTED if value is None else f"{value:.1f}"


def as_json(record: EpochRecord) -> str:
    """The record on one line of JSON: null for what was not computed, "nan" and "inf" as texts."""
    content: dict[str, Any] = {}
    for name in EpochRecord.__slots__:
        value = getattr(record, name)
        if isinstance(value, Mapping):
            content[name] = {key: _plain(number) for key, number in value.items()}
        else:
            content[name] = _plain(value)
    return json.dumps(content, allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not abs(value) < float("inf"):
        return str(value)
    return value


class Log:
    """Writes a line an epoch to a stream and to a JSONL file, and shows progress on a terminal.

    `resumed`: the epochs that the run it resumes has behind it: lines of later ones, which were
    written before it was killed and come again, are taken out of the file. 0 begins a new file.
    Raises SpecError E0854 where the file cannot be written.
    """

    def __init__(self, stream: IO[str], path: Path | None, epochs: int, resumed: int = 0) -> None:
        self.stream = stream
        self.path = path
        self.epochs = epochs
        if path is not None:
            kept = [r for r in read_log(path) if r["epoch"] <= resumed] if resumed else []
            self._to_file("w", "".join(json.dumps(r) + "\n" for r in kept))

    def write(self, record: EpochRecord) -> None:
        """Say what an epoch came to."""
        self.say(line(record, self.epochs))
        self._to_file("a", as_json(record) + "\n")

    def say(self, text: str) -> None:
        """One line to the stream alone."""
        self.stream.write(text + "\n")
        self.stream.flush()

    def progress(self, items: SizedIterable[Item], text: str) -> Iterable[Item]:
        """The items; on a terminal a bar says how many are done, and vanishes at the end."""
        if not self.stream.isatty():
            return items
        console = Console(file=self.stream)
        return track(items, text, total=len(items), console=console, transient=True)

    def _to_file(self, mode: Literal["w", "a"], text: str) -> None:
        if self.path is None:
            return
        try:
            with self.path.open(mode, encoding="utf-8") as file:
                file.write(text)
        except OSError as error:
            message = f"cannot write `{self.path}`: {error.strerror}"
            raise SpecError.of("E0854", message) from error


def read_log(path: Path) -> list[dict[str, Any]]:
    """The records of a JSONL file, none where there is no file.

    A last line that a killed run left unfinished is passed over. Raises SpecError E1103 where any
    other line is no record, and E05xx as `read_bytes`.
    """
    if not path.exists():
        return []
    lines = read_bytes(path).decode("utf-8", errors="replace").split("\n")
    records: list[dict[str, Any]] = []
    # After the last line break stands nothing, or what was not finished.
    for number, text in enumerate(lines[:-1], 1):
        try:
            record = json_of(text)
        except ValueError:
            record = None
        if not isinstance(record, dict) or not isinstance(record.get("epoch"), int):
            message = f"line {number} of `{path}` is no record of an epoch"
            raise SpecError.of("E1103", message, help="delete the file, or name another one")
        records.append(record)
    return records


# --- what is collected in an epoch ----------------------------------------------------------------


class Means:
    """Means of named numbers over the samples of an epoch; a batch counts by its size."""

    def __init__(self) -> None:
        self.totals: dict[str, float] = {}
        self.counts: dict[str, int] = {}

    def add(self, values: Mapping[str, Tensor | float], samples: int) -> None:
        """Means over a batch of so many samples."""
        for name, value in values.items():
            number = float(value.detach()) if isinstance(value, Tensor) else value
            self.totals[name] = self.totals.get(name, 0.0) + samples * number
            self.counts[name] = self.counts.get(name, 0) + samples

    @property
    def values(self) -> dict[str, float]:
        """The means so far, in the order in which names came first."""
        return {name: total / self.counts[name] for name, total in self.totals.items()}

    def clear(self) -> None:
        """Begin an epoch."""
        self.totals.clear()
        self.counts.clear()

    def state_dict(self) -> dict[str, Any]:
        """What a run that resumes within an epoch has to know."""
        return {"totals": dict(self.totals), "counts": dict(self.counts)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state."""
        self.totals, self.counts = dict(state["totals"]), dict(state["counts"])


@dataclass(slots=True)
class CpuSeconds:
    """CPU time of this process since the last `lap`: wall-clock time says nothing under load."""

    since: float = field(default_factory=time.process_time)

    def lap(self) -> float:
        """Seconds of all threads since it was made or asked last."""
        now = time.process_time()
        passed, self.since = now - self.since, now
        return passed
