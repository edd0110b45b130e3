"""The NPY format of NumPy: a magic number, a header that is a Python literal, then the numbers.

The reader of NumPy itself allocates what the header promises, and evaluates headers of Python 2 a
second time by other means, which fail in ways that are nowhere listed. This one believes only what
the bytes bear out. Source: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import NoReturn, cast

import numpy as np
import numpy.typing as npt

from specdsl.diagnostics import SpecError

MAGIC = b"\x93NUMPY"
# By the first byte of the version: how many bytes say the length of the header, and its encoding.
_VERSIONS = {1: (2, "latin-1"), 2: (4, "latin-1"), 3: (4, "utf-8")}
# NumPy's own limit; a header of three entries has some 100 characters.
MAX_HEADER = 10_000
# NumPy 1 has 32 axes at most.
MAX_AXES = 32
# Entries, counting an extent of 0 as 1: beyond it NumPy has no array, whatever is in it.
MAX_SIZE = 2**59
# Plain elements: numbers, and text, which is refused later with a word of what it is.
_ELEMENT = re.compile(r"[<>=|]?(b1|[iu][1248]|f(2|4|8|12|16)|c(8|16|24|32)|[SU]\d{1,9})")
# Python 2 wrote extents as `3L`.
_LONG = re.compile(r"(?<=\d)L\b")


@dataclass(frozen=True, slots=True)
class _Header:
    element: np.dtype[np.generic]
    shape: tuple[int, ...]
    is_fortran: bool


def array_of(content: bytes, path: Path) -> npt.NDArray[np.generic]:
    """The array in the bytes of a `.npy` file.

    `path` is what diagnostics call it. Raises SpecError E0515 where there is none, or one of Python
    objects: reading those would run code.
    """
    start, header = _header(content, path)
    wanted = prod(header.shape) * header.element.itemsize
    if len(content) - start < wanted:
        _refuse(path, f"its header says {wanted} bytes, {len(content) - start} follow")
    numbers = np.frombuffer(content, header.element, prod(header.shape), start)
    return numbers.reshape(header.shape, order="F" if header.is_fortran else "C").copy("K")


def _header(content: bytes, path: Path) -> tuple[int, _Header]:
    """What the header says, and where it ends."""
    version = content[6] if content.startswith(MAGIC) and len(content) > 7 else 0
    if version not in _VERSIONS:
        _refuse(path, "it does not begin as NumPy files do")
    width, encoding = _VERSIONS[version]
    begin = 8 + width
    end = begin + int.from_bytes(content[8:begin], "little")
    if end > min(len(content), begin + MAX_HEADER):
        _refuse(path, "its header is longer than the file, or than the limit")
    try:
        text = content[begin:end].decode(encoding)
        found: object = ast.literal_eval(_LONG.sub("", text).strip())
    # The documented ways in which `literal_eval` fails.
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError) as error:
        raise _refusal(path, "its header is no Python literal") from error
    return end, _checked(found, path)


def _checked(found: object, path: Path) -> _Header:
    match found:
        case {
            "descr": str(element),
            "fortran_order": bool(is_fortran),
            "shape": tuple() as shape,
            **others,
        } if not others and all(type(n) is int and n >= 0 for n in shape):
            extents = cast("tuple[int, ...]", shape)
        case _:
            _refuse(path, "its header does not say what it holds")
    if not _ELEMENT.fullmatch(element):
        _refuse(path, f"elements of type `{element}` are no plain numbers")
    if len(extents) > MAX_AXES or prod(max(n, 1) for n in extents) >= MAX_SIZE:
        _refuse(path, "no array has the shape that its header says")
    try:
        return _Header(np.dtype(element), extents, is_fortran)
    except TypeError as error:  # a long double of another machine
        raise _refusal(path, f"elements of type `{element}` are not known here") from error


def _refuse(path: Path, reason: str) -> NoReturn:
    raise _refusal(path, reason)


def _refusal(path: Path, reason: str) -> SpecError:
    return SpecError.of("E0515", f"`{path}` holds no plain NumPy array ({reason})")
