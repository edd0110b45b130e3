"""Evidence: candidates become witnesses by exact rationals and by replay in ONNX Runtime."""

from specdsl.evidence.replay import Replayer, Suspected, confirm
from specdsl.evidence.settle import settle

__all__ = ["Replayer", "Suspected", "confirm", "settle"]
