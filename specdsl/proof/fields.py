"""Objects of a header, read by name and kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

from specdsl.proof.arithmetic import Array
from specdsl.proof.refusal import Refused, require


@dataclass(frozen=True, slots=True, eq=False)
class Fields:
    """A JSON object. `tensors`: of the question, to which whole numbers refer. Everything here
    raises Refused where an entry is missing, or of another kind.
    """

    record: Mapping[str, Any]
    tensors: Sequence[Array] = ()

    @classmethod
    def of(cls, value: object, tensors: Sequence[Array] = ()) -> Fields:
        """Of what should be an object."""
        require(isinstance(value, dict), "the header has something else in place of an object")
        return cls(value, tensors)  # pyright: ignore[reportArgumentType]

    def entry(self, name: str, kind: type) -> Any:
        """An entry of exactly this type."""
        value = self.record.get(name)
        if type(value) is not kind:
            raise Refused(f"`{name}` in the header is {type(value).__name__}, not {kind.__name__}")
        return value

    def word(self, name: str) -> str:
        """Text."""
        return self.entry(name, str)

    def whole(self, name: str) -> int:
        """A whole number."""
        return self.entry(name, int)

    def real(self, name: str) -> float:
        """A number."""
        value = self.entry(name, float)
        require(isfinite(value), f"`{name}` is no number")
        return value

    def flag(self, name: str) -> bool:
        """Whether."""
        return self.entry(name, bool)

    def wholes(self, name: str) -> tuple[int, ...]:
        """A list of whole numbers."""
        values = self.entry(name, list)
        require(all(type(v) is int for v in values), f"`{name}` is more than whole numbers")
        return tuple(values)

    def objects(self, name: str) -> list[Fields]:
        """A list of objects."""
        return [Fields.of(each, self.tensors) for each in self.entry(name, list)]

    def tensor(self, name: str) -> Array:
        """A tensor by its position."""
        at = self.whole(name)
        require(0 <= at < len(self.tensors), f"`{name}` is no tensor")
        return self.tensors[at]
