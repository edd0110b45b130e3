"""One kept answer, as it stands in the database."""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import sha256

from specdsl.run.store.key import Key


@dataclass(frozen=True, slots=True)
class Row:
    """An answer and all that is known of it.

    `answer`: as `encoding` writes it. `limit`: seconds that the backend had, None without end;
    `seconds`: that it took; `made`: when, by the clock of the machine, in seconds since 1970.
    `origin`: as JSON. `certificate`: what an independent checker reads, as it is.
    """

    key: Key
    answer: str
    limit: float | None
    seconds: float
    made: float
    origin: str
    certificate: bytes | None = None

    @property
    def checksum(self) -> str:
        """Of everything in the row: with another one the file is damaged."""
        parts = (self.key.text, self.answer, self.limit, self.seconds, self.made, self.origin)
        return sha256(json.dumps(parts).encode() + (self.certificate or b"")).hexdigest()
