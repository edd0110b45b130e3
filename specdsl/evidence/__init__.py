"""Evidence: candidates become witnesses by exact rationals and by replay in ONNX Runtime."""

from specdsl.evidence.placement import Placement
from specdsl.evidence.replay import Replayer, Suspected, confirm
from specdsl.evidence.settle import settle, witness_again

__all__ = ["Placement", "Replayer", "Suspected", "confirm", "settle", "witness_again"]
