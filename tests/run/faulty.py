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
"""For `registry.CLASSES`."""


@dataclass(frozen=True)
class Faulty:
    """`sleeps`: seconds that each answer takes besides."""

    sleeps: float = 0.0
    timeout: float | None = None
    name: ClassVar[str] = NAME
    capabilities: ClassVar[Capabilities] = ALL

    def answer(self, query: Query, deadline: Deadline) -> Answer:
        time.sleep(self.sleeps)
        return Answer(_verdict(query.property_name), "faulty", 0.1, {"nodes": NAN})


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
