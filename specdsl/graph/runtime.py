"""ONNX Runtime behind one small class: bytes in, float32 arrays in and out, diagnostics out."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt

from specdsl.diagnostics import SpecError

FloatArray = npt.NDArray[np.float32]

# Fatal only: what is wrong comes back as an exception, and warnings do not belong on stderr.
_FATAL = 4
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


class Runtime:
    """A network loaded into ONNX Runtime, on one CPU thread so that results are repeatable.

    The optimisation level is the runtime's default: what is replayed is what users run. Raises
    SpecError E0611 where the runtime refuses the model.
    """

    def __init__(self, model: bytes, name: str) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = _FATAL
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        self.name = name
        self.version = f"onnxruntime {onnxruntime.__version__}"
        try:
            self._session: Any = onnxruntime.InferenceSession(
                model, options, providers=["CPUExecutionProvider"]
            )
        except _runtime_errors() as error:
            raise self._refused("load", error) from error
        inputs = self._session.get_inputs()
        # Models of old exporters list their initializers among the inputs; the runtime does not.
        self._input: str = inputs[0].name

    def run(self, point: FloatArray) -> FloatArray:
        """The first output at one point, given in the model's own shape (batch axis included).

        Raises SpecError E0611 where the runtime fails.
        """
        try:
            (output, *_) = self._session.run(None, {self._input: np.asarray(point, np.float32)})
        except _runtime_errors() as error:
            raise self._refused("run", error) from error
        return np.asarray(output)

    def _refused(self, what: str, error: Exception) -> SpecError:
        reason = " ".join(str(error).split())[:300]
        message = f"ONNX Runtime cannot {what} network `{self.name}`: {reason}"
        return SpecError.of("E0611", message)


def _runtime_errors() -> tuple[type[Exception], ...]:
    """The exceptions of the runtime, which have no common base but `Exception`."""
    state = import_module("onnxruntime.capi.onnxruntime_pybind11_state")
    return tuple(getattr(state, name) for name in _ERROR_NAMES if hasattr(state, name))
