"""Certificates: read and checked."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from random import Random

from tests.fuzz.mutators import binary
from tests.fuzz.target import Target


@cache
def _files() -> tuple[bytes, ...]:
    from specdsl.certificates.question import state
    from tests.proof.certificates import certified
    from tests.proof.test_container import narrow_query
    from tests.proof.test_parts import file_of, narrow_proof

    query = narrow_query()
    found = [certified(query, "real"), certified(query, "float32_any_order")]
    parts = file_of(state(query, "real"), narrow_proof(0))
    return (*(each.content for each in found if each is not None), parts)


def mutate_certificate(random: Random, content: bytes, corpus: Sequence[bytes]) -> bytes:
    """Mostly so that its hashes fit again: what is behind them would never be reached."""
    from specdsl.proof import Refused
    from tests.proof.mutating import mutated

    if random.random() < 0.2:
        return binary.mutate(random, content, corpus)
    try:
        return mutated(content, random.randrange(2**32))
    except Refused:
        return binary.mutate(random, content, corpus)


def _check(content: bytes, _folder: Path) -> None:
    from specdsl.diagnostics import SpecError
    from specdsl.proof import Refused, check, read_certificate

    try:
        check(read_certificate(content))
    except Refused as refusal:
        raise SpecError.of("E0603", f"refused: {refusal}") from refusal


TARGETS = (Target("certificate", ".sdcert", _files, mutate_certificate, _check, 1_000),)
