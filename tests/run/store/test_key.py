"""An answer is found by everything that decides it, and by nothing else."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, fields, replace
from fractions import Fraction
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, get_args, get_origin, get_type_hints

import pytest

from specdsl.backends.registry import CLASSES, create
from specdsl.run.store.key import LIBRARIES, Key, backend_text, code_hash, versions
from specdsl.version import __version__

KEY = Key("query", "backend", "versions", "semantics")


@pytest.mark.parametrize("field", [f.name for f in fields(Key)])
def test_every_part_counts(field: str) -> None:
    assert replace(KEY, **{field: "other"}).text != KEY.text


def test_parts_do_not_run_into_one_another() -> None:
    assert Key("ab", "c", "", "").text != Key("a", "bc", "", "").text


def other(value: object, hint: object) -> object:
    """Another value for an option."""
    if get_origin(hint) is not None and isinstance(value, str):
        return next(choice for choice in get_args(hint) if choice != value)
    if isinstance(value, bool):
        return not value
    if isinstance(value, float):
        return value / 2 + 0.25
    if isinstance(value, Fraction):
        return value / 2
    if isinstance(value, int):
        return value + 1
    return "cuda" if isinstance(value, str) else 1


@pytest.mark.parametrize("name", CLASSES)
def test_every_option_counts_but_the_timeout(name: str) -> None:
    module, attribute = CLASSES[name]
    kind: Any = getattr(import_module(module), attribute)
    hints, backend = get_type_hints(kind), create(name, {})
    texts = {backend_text(backend)}
    options = [f.name for f in fields(kind) if f.name != "timeout"]
    for option in options:
        changed = {option: other(getattr(backend, option), hints[option])}
        texts.add(backend_text(replace(backend, **changed)))  # type: ignore[type-var]
    assert len(texts) == len(options) + 1
    if "timeout" in hints:
        assert backend_text(replace(backend, timeout=7.0)) in texts  # type: ignore[type-var]


def test_an_option_of_a_kind_that_cannot_be_told_apart_is_refused() -> None:
    @dataclass
    class Odd:
        option: object
        name: ClassVar[str] = "odd"

    assert backend_text(Odd(Fraction(1, 3))) == "odd(option = 1/3)"  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="option of a backend is a set"):
        backend_text(Odd({1}))  # type: ignore[arg-type]


def test_versions_are_those_of_all_that_answers_come_from() -> None:
    found = json.loads(versions())
    assert set(found) == {*LIBRARIES, "specdsl"}
    assert found["specdsl"].startswith(__version__ + "+")


def test_the_code_counts_wherever_it_lies(tmp_path: Path) -> None:
    package = tmp_path / "package"
    (package / "inside").mkdir(parents=True)
    (package / "a.py").write_text("one = 1\n")
    (package / "inside" / "b.py").write_text("two = 2\n")
    first = code_hash(package)
    shutil.copytree(package, tmp_path / "copy")
    assert code_hash(tmp_path / "copy") == first
    (package / "notes.txt").write_text("no code")
    assert code_hash(package) == first
    (package / "inside" / "b.py").write_text("two = 3\n")
    changed = code_hash(package)
    (package / "inside" / "b.py").rename(package / "inside" / "c.py")
    assert len({first, changed, code_hash(package)}) == 3
