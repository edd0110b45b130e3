"""ONNX Runtime behind one small class: bytes in, float32 arrays in and out, diagnostics out."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from specdsl.diagnostics import SpecError
from specdsl.graph.to_onnx import expose

FloatArray = npt.NDArray[np.float32]

# Fatal only: what is wrong comes back as an exception, and warnings do not belong on stderr.
_FATAL = 4
# What the runtime calls the element types of inputs.
_ELEMENTS = {"tensor(float)": np.float32, "tensor(double)": np.float64}
_ERROR_NAMES = (
    "EPFail",
    "EngineError",
    "Fail",
    "InvalidArgument",
    "InvalidGraph",
    "InvalidProtobuf",
    "NoModel",
    "NoSuchFile",
    "NotImplemented",
    "RuntimeException",
)


class Runner(Protocol):
    """An original network, ready to be run: what a graph is compared with and replayed by.

    `name`: the network's; `title`: of what runs it, in sentences; `version`: the same in reports.
    """

    name: str
    title: str
    version: str

    def run_many(self, points: Sequence[FloatArray]) -> tuple[FloatArray, ...]:
        """All outputs, then the hidden values, for one point in each input.

        Raises SpecError E0611 where running fails.
        """
        ...


class Original(Protocol):
    """A network that is replayed by something else than ONNX Runtime."""

    def runner(self, hidden: Sequence[str] = ()) -> Runner:
        """The network ready to be run; `hidden` names values that it gives too."""
        ...


class Runtime:
    """A network loaded into ONNX Runtime, on one CPU thread so that results are repeatable.

    The optimisation level is the runtime's default: what is replayed is what users run. Raises
    SpecError E0611 where the runtime refuses the model.

    `hidden` names values inside the model that `run_many` gives too. A second session computes
    them: exposing a value changes which ops the runtime fuses, and outputs stay what users see.
    """

    def __init__(self, model: bytes, name: str, hidden: Sequence[str] = ()) -> None:
        import onnxruntime

        self.name = name
        self.title = "ONNX Runtime"
        self.version = f"onnxruntime {onnxruntime.__version__}"
        self._session = self._load(model)
        self._hidden = tuple(hidden)
        self._inside = self._load(expose(model, self._hidden)) if hidden else None
        # Models of old exporters list their initializers among the inputs; the runtime does not.
        self._inputs: dict[str, type[np.floating]] = {
            i.name: _ELEMENTS.get(i.type, np.float32) for i in self._session.get_inputs()
        }

    def run(self, point: FloatArray) -> FloatArray:
        """The first output at one point, given in the model's own shape (batch axis included).

        Raises SpecError E0611 where the runtime fails.
        """
        return self.run_many([point])[0]

    def run_many(self, points: Sequence[FloatArray]) -> tuple[FloatArray, ...]:
        """All outputs, then the hidden values, for one point in each input.

        Inputs and outputs stand in the model's order and have its own shapes. Raises SpecError
        E0611 where the runtime fails, ValueError for another number of points than inputs.
        """
        entries = zip(self._inputs.items(), points, strict=True)
        inputs = {name: np.asarray(point, element) for (name, element), point in entries}
        try:
            results = list(self._session.run(None, inputs))
            if self._inside is not None:
                results += self._inside.run(list(self._hidden), inputs)
        except _runtime_errors() as error:
            raise self._refused("run", error) from error
        return tuple(np.asarray(result) for result in results)

    def _load(self, model: bytes) -> Any:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = _FATAL
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        try:
            return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except _runtime_errors() as error:
            raise self._refused("load", error) from error

    def _refused(self, what: str, error: Exception) -> SpecError:
        reason = " ".join(str(error).split())[:300].rstrip(". ")
        message = f"ONNX Runtime cannot {what} network `{self.name}`: {reason}"
        return SpecError.of("E0611", message)


def _runtime_errors() -> tuple[type[Exception], ...]:
    """The exceptions of the runtime, which have no common base but `Exception`."""
    state = import_module("onnxruntime.capi.onnxruntime_pybind11_state")
    return tuple(getattr(state, name) for name in _ERROR_NAMES if hasattr(state, name))
