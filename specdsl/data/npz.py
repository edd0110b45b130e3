"""NumPy archives. Pickles are refused: they run code."""

from __future__ import annotations

import io
import lzma
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from specdsl.data.dataset import Dataset, make_dataset
from specdsl.data.npy import array_of
from specdsl.diagnostics import SpecError, suggestion
from specdsl.files import MAX_BYTES, read_bytes

# What reading a damaged zip file raises: bad structure, bad data by each of the methods, places
# outside of the file (ValueError, OSError), unknown methods, and passwords (RuntimeError).
DAMAGED = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError),
    *(ValueError, OSError, OverflowError, NotImplementedError, RuntimeError),
)


def read_npz(path: Path, inputs: str, labels: str | None, *, numbers: bool = False) -> Dataset:
    """The arrays named `inputs` and `labels` of an archive; a `.npy` file holds the inputs alone.

    Raises SpecError (no span): E05xx of `read_bytes`, E0515 where the file is no archive of plain
    arrays, E0516 where an array is missing, and as `make_dataset`.
    """
    content = read_bytes(path)
    if path.name.removesuffix(".gz").endswith(".npy"):
        return make_dataset(array_of(content, path), None, f"`{path.name}`")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            found = _member(archive, inputs, path)
            classes = None if labels is None else _member(archive, labels, path)
    except DAMAGED as error:
        raise SpecError.of("E0515", f"`{path}` is not a NumPy archive ({error})") from error
    return make_dataset(found, classes, f"`{path.name}`", numbers=numbers)


def read_npy_pair(inputs: Path, labels: Path | None, *, numbers: bool = False) -> Dataset:
    """Inputs and labels from two `.npy` files.

    Raises SpecError (no span) as `read_npy` and `make_dataset`.
    """
    found = read_npy(inputs)
    classes = None if labels is None else read_npy(labels)
    return make_dataset(found, classes, f"`{inputs.name}`", numbers=numbers)


def read_npy(path: Path) -> npt.NDArray[np.generic]:
    """The array in a `.npy` file. Raises SpecError (no span): E05xx of `read_bytes`, E0515."""
    return array_of(read_bytes(path), path)


def _member(archive: zipfile.ZipFile, name: str, path: Path) -> npt.NDArray[np.generic]:
    names = [n.removesuffix(".npy") for n in archive.namelist() if n.endswith(".npy")]
    if name not in names:
        known = ", ".join(f"`{n}`" for n in names[:10]) or "none"
        help_ = suggestion(name, names) or f"its arrays are {known}"
        raise SpecError.of("E0516", f"`{path}` holds no array `{name}`", help=help_)
    # The size in the directory may lie: reading stops at the limit whatever it says.
    with archive.open(f"{name}.npy") as member:
        content = member.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        limit = MAX_BYTES // 2**20
        raise SpecError.of("E0503", f"`{name}` in `{path}` holds more than {limit} MiB")
    return array_of(content, path)
