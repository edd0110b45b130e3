"""Tests take what their `@settings` leave open from the profile that tests/conftest.py loads."""

from __future__ import annotations

import os

from hypothesis import given, settings
from hypothesis import strategies as st

HERE = settings(max_examples=1)
IS_RANDOM = os.environ.get("SPECDSL_TESTS") == "random"


def test_settings_of_a_module_are_those_of_the_profile() -> None:
    assert HERE.derandomize is not IS_RANDOM
    assert HERE.print_blob is IS_RANDOM
    assert HERE.deadline is None
    assert (HERE.database is None) is not IS_RANDOM


def drawn() -> list[int]:
    found: list[int] = []

    @given(st.integers(0, 2**64))
    @settings(max_examples=20)
    def collect(number: int) -> None:
        found.append(number)

    collect()
    return found


def test_only_the_random_profile_draws_anew() -> None:
    assert (drawn() == drawn()) is not IS_RANDOM
