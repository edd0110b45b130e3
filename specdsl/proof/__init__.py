"""The independent checker of certificates: numpy and the standard library, nothing of the engine.

A certificate holds a question (a network with margins, and cases of input sets and atoms) and a
proof that no case has a point. `check` works every number of the proof out again, in floats whose
rounding is accounted for or in rationals, and believes nothing else. docs/certificate_format.md
describes the format well enough to write another checker.
"""

from specdsl.proof.arithmetic import EXACT, FLOAT, Arithmetic
from specdsl.proof.certificate import Certificate, read_certificate
from specdsl.proof.check import Checked, check
from specdsl.proof.refusal import NotCovered, Refused

__all__ = [
    "EXACT",
    "FLOAT",
    "Arithmetic",
    "Certificate",
    "Checked",
    "NotCovered",
    "Refused",
    "check",
    "read_certificate",
]
