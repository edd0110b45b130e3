"""A training on disk: all that a run needs to go on exactly where another one was.

checkpoint = Checkpoint(path, recipe, module=net, optimizer=optimiser, data=batches, best=best,
                        generator=generator)
checkpoint.resume()
...
checkpoint.save()
"""

from __future__ import annotations

import os
import pickle
import random
import struct
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from specdsl.diagnostics import SpecError


class Stateful(Protocol):
    """What can say its state and go back to it: modules, optimisers, `Batches`, `Best`, ..."""

    def state_dict(self) -> Any:
        """All that matters, as tensors, numbers, texts and containers of them."""
        ...

    def load_state_dict(self, state_dict: Any, /) -> Any:
        """Go back to it."""
        ...


Part = Stateful | torch.Generator | np.random.Generator | random.Random

# Changes when older files no longer say enough.
FORMAT = 1

# What setting a state raises that is none: by PyTorch, NumPy, and Python's own generator.
_UNFIT = (RuntimeError, ValueError, LookupError, TypeError, AttributeError, OverflowError)
# `torch.load` promises nothing about damaged files. It interprets a pickle, only such as make
# tensors and plain values, and what an interpreter of damaged code meets it raises as it comes.
_UNREADABLE = (
    *(*_UNFIT, OSError, EOFError, MemoryError, AssertionError, ZeroDivisionError),
    *(struct.error, pickle.UnpicklingError),
)


class Checkpoint:
    """A file with the state of all named parts, and of PyTorch's own generators (dropout).

    `recipe` is the hash of the training: a file of another one is refused. What is not named is not
    kept: parts are everything that a step changes or draws from.
    """

    def __init__(self, path: Path, recipe: str, **parts: Part) -> None:
        self.path = path
        self.recipe = recipe
        self.parts = parts

    def save(self) -> None:
        """Write all of it. Whenever this is killed, the file is either the old or the new one.

        Raises SpecError E0854 where the file cannot be written.
        """
        content = {
            "format": FORMAT,
            "recipe": self.recipe,
            "parts": {name: _state(part) for name, part in self.parts.items()},
            "torch": _torch_generators(),
        }
        write_atomically(self.path, content)

    def resume(self) -> bool:
        """Put all parts where the file says; False, and nothing changed, where there is no file.

        Raises SpecError E1102 where the file is damaged, of another recipe, or lacks a part.
        """
        if not self.path.exists():
            return False
        content = self._read()
        for name, part in self.parts.items():
            self._restore(name, part, content["parts"][name])
        try:
            _set_torch_generators(content["torch"])
        except _UNFIT as error:
            raise self._refused("does not hold the generators of PyTorch") from error
        return True

    def _read(self) -> dict[str, Any]:
        try:
            # Only tensors and plain values: a checkpoint runs no code.
            content = torch.load(self.path, map_location="cpu", weights_only=True)
        except _UNREADABLE as error:
            raise self._refused("is damaged, or no checkpoint") from error
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise self._refused("was written by another version")
        if content.get("recipe") != self.recipe:
            raise self._refused("belongs to another training")
        parts = content.get("parts")
        if not isinstance(parts, dict) or "torch" not in content:
            raise self._refused("is damaged, or no checkpoint")
        if set(parts) != set(self.parts):
            differing = ", ".join(sorted(f"`{n}`" for n in set(parts) ^ set(self.parts)))
            raise self._refused(f"holds other parts than this training has ({differing})")
        return content

    def _restore(self, name: str, part: Part, state: Any) -> None:
        try:
            _set_state(part, state)
        except _UNFIT as error:
            raise self._refused(f"does not fit the `{name}` of this training") from error

    def _refused(self, reason: str) -> SpecError:
        help_ = "delete the file to begin anew, or give the checkpoint another name"
        return SpecError.of("E1102", f"the checkpoint `{self.path}` {reason}", help=help_)


def write_atomically(path: Path, content: Any) -> None:
    """Save a value with PyTorch: into a file beside it first, which then takes its name.

    Raises SpecError E0854 where it cannot be written.
    """
    beside = path.with_name(f"{path.name}.partial")
    try:
        with beside.open("wb") as file:
            torch.save(content, file)
            file.flush()
            # Else the new name may reach the disk before the content does.
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        message = f"cannot write `{path}`: {error.strerror}"
        raise SpecError.of("E0854", message) from error


# --- states ---------------------------------------------------------------------------------------


def _state(part: Part) -> Any:
    match part:
        case torch.Generator():
            return part.get_state()
        case np.random.Generator():
            return _plain(part.bit_generator.state)
        case random.Random():
            return part.getstate()
        case _:
            return part.state_dict()


def _plain(state: Any) -> Any:
    """Arrays as lists: files hold tensors and plain values only."""
    if isinstance(state, dict):
        return {key: _plain(value) for key, value in state.items()}
    return state.tolist() if isinstance(state, np.ndarray) else state


def _set_state(part: Part, state: Any) -> None:
    match part:
        case torch.Generator():
            part.set_state(state)
        case np.random.Generator():
            part.bit_generator.state = state
        case random.Random():
            part.setstate(state)
        case _:
            part.load_state_dict(state)


def _torch_generators() -> dict[str, Any]:
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    return {"cpu": torch.get_rng_state(), "cuda": cuda}


def _set_torch_generators(states: dict[str, Any]) -> None:
    torch.set_rng_state(states["cpu"])
    if states["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(states["cuda"])
