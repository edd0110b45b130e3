"""What came of each trial, on disk: a line of JSON each, so that a killed sweep can go on."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType, NoneType
from typing import Any

from specdsl.diagnostics import SpecError
from specdsl.files import json_of, read_bytes
from specdsl.training.sweep.front import Accuracies
from specdsl.training.sweep.space import Values

NUMBER = (int, float, NoneType)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One line. None is what is not known, never a guess.

    `parameters` as texts; `key`: a hash of the script that ran, in the folder `folder`;
    `judged`: by which property and samples, `measure` a hash of these; `least_clean`: the clean
    accuracy that `keep best ... where` asks for; `samples`: how many, of which `clean`,
    `adversarial` and `certified` are parts; `by`: how many each bound certified. `failed` says why
    there is nothing of all that. `cpu_seconds` of training alone.
    """

    trial: int
    parameters: Values
    key: str
    recipe: str
    folder: str
    judged: str
    measure: str
    least_clean: float | None = None
    samples: int | None = None
    clean: float | None = None
    adversarial: float | None = None
    certified: float | None = None
    by: Mapping[str, int] | None = None
    cpu_seconds: float | None = None
    failed: str | None = None

    @property
    def accuracies(self) -> Accuracies | None:
        """What it is compared by; None where it failed."""
        if self.clean is None or self.certified is None:
            return None
        return Accuracies(self.clean, self.certified)

    @property
    def meets(self) -> bool:
        """Whether it is as accurate as asked for."""
        return self.clean is not None and self.clean >= (self.least_clean or 0.0)


@dataclass(slots=True)
class Journal:
    """The file of a sweep, and the trials in it by their keys; of two runs the later one counts."""

    path: Path
    trials: dict[str, Trial]

    @classmethod
    def begun(cls, path: Path, *, resume: bool) -> Journal:
        """The file as it stands, or a new one.

        A last line that a killed run left unfinished is taken out. Raises SpecError E1111 where
        there is a sweep already and `resume` is not set, or a line is no trial; E05xx and E0854
        where it cannot be read or written.
        """
        if not path.exists():
            return cls(path, {})
        if not resume:
            message = f"`{path.parent}` holds a sweep already"
            help_ = "`--resume` goes on with it, `-o DIR` begins another one"
            raise SpecError.of("E1111", message, help=help_)
        lines = read_bytes(path).decode("utf-8", errors="replace").split("\n")
        found = [_trial(line, number, path) for number, line in enumerate(lines[:-1], 1)]
        journal = cls(path, {trial.key: trial for trial in found})
        if lines[-1]:
            journal._rewrite(lines[:-1])
        return journal

    def write(self, trial: Trial) -> None:
        """Add a line, in one piece. Raises SpecError E0854."""
        self.trials[trial.key] = trial
        line = json.dumps(asdict(trial), allow_nan=False) + "\n"
        try:
            # Unbuffered, so that the line goes to the file by one call and not in parts.
            with self.path.open("ab", buffering=0) as file:
                file.write(line.encode())
                os.fsync(file.fileno())
        except OSError as error:
            raise _unwritable(self.path, error) from error

    @property
    def next_number(self) -> int:
        """The number of a new trial."""
        return 1 + max((trial.trial for trial in self.trials.values()), default=0)

    def _rewrite(self, lines: Sequence[str]) -> None:
        beside = self.path.with_name(f"{self.path.name}.partial")
        try:
            beside.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
            beside.replace(self.path)
        except OSError as error:
            raise _unwritable(self.path, error) from error


_KINDS: Mapping[str, tuple[type, ...]] = MappingProxyType(
    {
        "trial": (int,),
        "parameters": (dict,),
        **dict.fromkeys(("key", "recipe", "folder", "judged", "measure"), (str,)),
        "samples": (int, NoneType),
        **dict.fromkeys(("least_clean", "clean", "adversarial", "certified"), NUMBER),
        "by": (dict, NoneType),
        "cpu_seconds": NUMBER,
        "failed": (str, NoneType),
    }
)
"""Of the fields of a trial, as JSON has them."""


def _trial(line: str, number: int, path: Path) -> Trial:
    try:
        content: Any = json_of(line)
    except ValueError:
        content = None
    if not _is_trial(content):
        message = f"line {number} of `{path}` is no trial of a sweep"
        help_ = "delete the line, or begin another sweep with `-o DIR`"
        raise SpecError.of("E1111", message, help=help_)
    return Trial(**content)


def _is_trial(content: object) -> bool:
    if not isinstance(content, dict) or set(content) != set(_KINDS):
        return False
    fits = all(isinstance(content[name], kinds) for name, kinds in _KINDS.items())
    return fits and all(isinstance(value, str) for value in content["parameters"].values())


def _unwritable(path: Path, error: OSError) -> SpecError:
    return SpecError.of("E0854", f"cannot write `{path}`: {error.strerror}")
