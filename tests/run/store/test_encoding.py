"""What is read back is what was written, and nothing else is read."""

from __future__ import annotations

from dataclasses import fields
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from specdsl.query.sets import exact
from specdsl.run.store.encoding import Undecodable, decode, encode
from specdsl.verdict import (
    Answer,
    Certificate,
    Estimate,
    Falsified,
    OpenCases,
    Unknown,
    Verified,
    Witness,
)

NUMBERS = st.floats(allow_nan=False)
TEXTS = st.text(max_size=20)
CERTIFICATES = st.builds(
    Certificate,
    method=TEXTS,
    margin=st.none() | NUMBERS,
    trusted=st.lists(TEXTS, max_size=3).map(tuple),
    leaves=st.integers(0, 10**9),
)
WITNESSES = st.builds(
    Witness,
    point=st.lists(st.fractions(), max_size=4).map(exact),
    case=st.integers(0, 99),
    exact_margin=st.fractions(),
    replayed_margin=st.fractions(),
    calls=st.just(()),
    replayed_with=TEXTS,
    notes=st.lists(TEXTS, max_size=2).map(tuple),
    error=NUMBERS,
)
LEFT = st.builds(
    OpenCases, cases=st.lists(st.integers(0, 99), max_size=3).map(tuple), closed_bound=NUMBERS
)
UNKNOWNS = st.builds(
    Unknown,
    reason=TEXTS,
    bound=st.none() | NUMBERS,
    advice=st.none() | TEXTS,
    timeout=st.booleans(),
    left=st.none() | LEFT,
    crashed=st.booleans(),
    estimate=st.none()
    | st.builds(
        Estimate,
        confidence=st.fractions(0, 1),
        share=st.none() | st.floats(0, 1),
    ),
)
ANSWERS = st.builds(
    Answer,
    verdict=st.one_of(st.builds(Verified, CERTIFICATES), st.builds(Falsified, WITNESSES), UNKNOWNS),
    method=TEXTS,
    seconds=NUMBERS,
    statistics=st.dictionaries(TEXTS, NUMBERS | st.integers(), max_size=3),
)


def plain(value: Any) -> Any:
    """A verdict as values that can be compared."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if hasattr(value, "__dataclass_fields__"):
        return type(value), [plain(getattr(value, f.name)) for f in fields(value)]
    return value


@given(ANSWERS)
def test_what_is_written_is_read_back_exactly(answer: Answer) -> None:
    assert plain(decode(encode(answer))) == plain(answer)


@pytest.mark.parametrize("number", [np.float64(0.1), np.float32(0.5), np.int64(3)])
def test_numbers_of_numpy_are_numbers(number: Any) -> None:
    answer = Answer(Unknown("open", bound=number), "m", 1.0, {"domains": number})
    back = decode(encode(answer))
    assert back.statistics == {"domains": number}
    assert isinstance(back.verdict, Unknown)
    assert back.verdict.bound == number


WHOLE = encode(
    Answer(
        Falsified(Witness(exact([1]), 0, Fraction(-1), Fraction(-1), (), "onnxruntime")), "m", 1.0
    )
)


@given(st.integers(0, len(WHOLE) - 1), st.text(max_size=3))
def test_a_text_that_was_tampered_with_is_an_answer_or_is_refused(place: int, text: str) -> None:
    try:
        answer = decode(WHOLE[:place] + text + WHOLE[place + 1 :])
    except Undecodable:
        return
    assert isinstance(answer.verdict, Falsified)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"method": "m", "seconds": 1, "statistics": {}}',
        '{"method": "m", "seconds": 1, "statistics": {}, "verified": {}}',
        '{"method": "m", "seconds": 1, "statistics": {}, "verified": 3}',
        '{"method": "m", "seconds": 1, "statistics": {}, "unknown": {"reason": "r"}}',
        WHOLE.replace('"-1"', '"1/0"'),
        WHOLE.replace('["1"]', '["one"]'),
        WHOLE.replace('["1"]', "7"),
    ],
)
def test_what_is_no_answer_is_refused(text: str) -> None:
    with pytest.raises(Undecodable):
        decode(text)
