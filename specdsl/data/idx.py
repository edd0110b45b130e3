"""The IDX format of MNIST: a magic number, big-endian extents, then the bytes."""

from __future__ import annotations

from math import prod
from pathlib import Path

import numpy as np
import numpy.typing as npt

from specdsl.data.dataset import Dataset, make_dataset
from specdsl.diagnostics import SpecError
from specdsl.files import read_bytes

# NumPy 1 has 32 axes at most; images have three.
MAX_AXES = 32
# Entries, counting an extent of 0 as 1: beyond it NumPy has no array, whatever is in it.
MAX_SIZE = 2**59
# Third byte of the magic number: the element type, big-endian.
ELEMENTS = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def read_idx(images: Path, labels: Path | None, *, numbers: bool = False) -> Dataset:
    """Inputs and labels from two files, gzipped where the name ends in `.gz`.

    Raises SpecError (no span): E05xx of `read_bytes`, E0514 where a header is wrong or the content
    has another length than it says, and as `make_dataset`.
    """
    inputs = read_array(images)
    classes = None if labels is None else read_array(labels)
    return make_dataset(inputs, classes, f"`{images.name}`", numbers=numbers)


def read_array(path: Path) -> npt.NDArray[np.generic]:
    """One IDX file as an array, in the machine's byte order."""
    content = read_bytes(path)
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in ELEMENTS:
        help_ = "an IDX file begins with the bytes 00 00 08; .gz files are expanded by their name"
        raise SpecError.of("E0514", f"`{path}` is not an IDX file", help=help_)
    element = np.dtype(ELEMENTS[content[2]])
    axes = content[3]
    start = 4 + 4 * axes
    if not axes or len(content) < start:
        raise SpecError.of("E0514", f"`{path}` ends inside its header")
    extents = tuple(int(n) for n in np.frombuffer(content, ">u4", axes, 4))
    if axes > MAX_AXES or prod(max(n, 1) for n in extents) >= MAX_SIZE:
        message = f"no array has the {axes} axes that the header of `{path}` says"
        raise SpecError.of("E0514", message)
    # Python integers: a hostile header cannot overflow the product.
    wanted = prod(extents) * element.itemsize
    if len(content) - start != wanted:
        found = f"{len(content) - start} bytes follow"
        raise SpecError.of("E0514", f"the header of `{path}` says {wanted} bytes, {found}")
    array = np.frombuffer(content, element, offset=start).reshape(extents)
    return array.astype(element.newbyteorder("="), copy=False)
