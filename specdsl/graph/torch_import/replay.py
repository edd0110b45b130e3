"""The module itself as what a graph is compared with and counterexamples are replayed by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils._pytree import tree_leaves

from specdsl.diagnostics import SpecError
from specdsl.graph.torch_import.trace import Traced

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class TorchOriginal:
    """A module as it was handed over."""

    traced: Traced = field(repr=False)

    def runner(self, hidden: Sequence[str] = ()) -> TorchRunner:
        """The module ready to be run; `hidden` names values of the traced ops."""
        return TorchRunner(self.traced, tuple(hidden))


class TorchRunner:
    """Runs a module without gradients. Hidden values come from its traced ops."""

    def __init__(self, traced: Traced, hidden: tuple[str, ...]) -> None:
        self.name = traced.network
        self.title = "PyTorch"
        self.version = f"torch {torch.__version__}"
        self._traced = traced
        self._hidden = hidden

    def run_many(self, points: Sequence[FloatArray]) -> tuple[FloatArray, ...]:
        """All outputs, then the hidden values, for one point in each input.

        Raises SpecError E0611 where the module fails, ValueError for another number of points than
        inputs.
        """
        if len(points) != len(self._traced.inputs):
            raise ValueError(f"{len(points)} points for {len(self._traced.inputs)} inputs")
        # Copies: a module may write into what it is given.
        given = [torch.from_numpy(np.array(p, dtype=np.float32)) for p in points]
        try:
            with torch.no_grad():
                said = tree_leaves(self._traced.module(*(g.clone() for g in given)))
                inside = self._values(given) if self._hidden else []
        # The user's own code runs here: whatever it raises is a fact about the module.
        except Exception as error:
            reason = " ".join(str(error).split())[:300]
            text = f"PyTorch cannot run network `{self.name}`: {reason}"
            raise SpecError.of("E0611", text) from error
        return tuple(value.detach().numpy() for value in (*said, *inside))

    def _values(self, given: list[torch.Tensor]) -> list[torch.Tensor]:
        traced = self._traced
        recorder = _Recorder(traced.graph, self._hidden)
        inputs = dict(zip(traced.inputs, given, strict=True))
        names = [node.name for node in traced.graph.graph.nodes if node.op == "placeholder"]
        recorder.run(*({**traced.constants, **inputs}[name] for name in names))
        return [recorder.found[name].to(torch.float32) for name in self._hidden]


class _Recorder(torch.fx.Interpreter):
    """Runs traced ops one by one, and keeps the values that have been asked for."""

    def __init__(self, graph: torch.fx.GraphModule, wanted: tuple[str, ...]) -> None:
        super().__init__(graph)
        self.wanted = frozenset(wanted)
        self.found: dict[str, torch.Tensor] = {}

    def run_node(self, n: torch.fx.Node) -> Any:
        """One op."""
        value = super().run_node(n)
        if n.name in self.wanted:
            self.found[n.name] = value
        return value
