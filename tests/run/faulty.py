"""A backend that goes wrong in the way that the property is named after."""

from __future__ import annotations

import faulthandler
import os
import signal
import time
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from specdsl.backend import Capabilities, Deadline
from specdsl.query.query import Query
from specdsl.verdict import Answer, Certificate, Unknown, Verdict, Verified
from tests.run.fakes import ALL

NAN = float("nan")
NAME, PLACE = "faulty", ("tests.run.faulty", "Faulty")
SLOW, SLOW_PLACE = "slow", ("tests.run.faulty", "Slow")
"""For `registry.CLASSES`."""


@dataclass(frozen=True)
class Faulty:
    """Says at once what there is to say, if there is anything."""

    timeout: float | None = None
    name: ClassVar[str] = NAME
    capabilities: ClassVar[Capabilities] = ALL

    def answer(self, query: Query, deadline: Deadline) -> Answer:
        return Answer(_verdict(query.property_name), "faulty", 0.1, {"nodes": NAN})


@dataclass(frozen=True)
class Slow(Faulty):
    """The same, a moment later."""

    name: ClassVar[str] = SLOW

    def answer(self, query: Query, deadline: Deadline) -> Answer:
        time.sleep(0.02)
        return super().answer(query, deadline)


def _verdict(fault: str) -> Verdict:
    # What pytest would say of these is meant here.
    faulthandler.disable()
    match fault:
        case "segfault":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "hang":
            time.sleep(600)
        case "eat":
            held = [np.empty(2**28, np.uint8) for _ in range(999)]
            raise AssertionError(f"{len(held)} pieces fit")
        case "raise":
            raise ValueError("nothing good")
        case "torch":
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate")
        case "nan_margin":
            return Verified(Certificate("faulty", NAN, ()))
        case "nan_bound":
            return Unknown("open", bound=NAN)
        case _:
            return Verified(Certificate("faulty", 1.0, ()))
    raise AssertionError("a signal was sent")
