"""Where a kept answer is from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a question came from, so that it can be built again. `spec`: the file, absolute;
    `parameters`: what was set on the command line; `id`: of the obligation or query.
    """

    spec: str
    parameters: Mapping[str, str] = field(default_factory=dict[str, str])
    id: str = ""

    @classmethod
    def read(cls, text: str) -> Origin:
        """From what `written` gave. Raises ValueError for anything else."""
        try:
            match json.loads(text):
                case [str(spec), dict(parameters), str(id)] if all(
                    isinstance(v, str) for v in parameters.values()
                ):
                    return cls(spec, parameters, id)
                case _:
                    raise ValueError("says nothing of where it is from")
        except RecursionError as error:
            raise ValueError("is nested too deeply") from error

    @property
    def written(self) -> str:
        """As JSON."""
        return json.dumps([self.spec, dict(self.parameters), self.id])
