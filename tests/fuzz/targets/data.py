"""Datasets: IDX, NumPy, CSV and CIFAR files, compressed ones too, down to exact samples."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from random import Random

from tests.fuzz.mutators import arrays, binary
from tests.fuzz.mutators.texts import Language
from tests.fuzz.target import Target

_IMAGES = b"\0\0\x08\x03" + b"\0\0\0\x05" + b"\0\0\0\x02" * 2 + bytes(range(20))
_LABELS = b"\0\0\x08\x01" + b"\0\0\0\x05" + bytes((0, 1, 2, 1, 0))
_CELLS = Language(
    re.compile(r'"[^"]*"|[^,"\n]+|.', re.DOTALL),
    (",", "\n", '"', "label", "0.5", "1", "nan", "inf", ";", "\t", '""', "1e400", "-0", "label,"),
    (('"', '"'), (",", ""), ("\n", ""), ("1,", "\n")),
)


@cache
def _idx() -> tuple[bytes, ...]:
    floats = b"\0\0\x0d\x02" + b"\0\0\0\x05" + b"\0\0\0\x01" + b"\x3f\x80\0\0" * 5
    wide = b"\0\0\x0e\x02" + b"\0\0\0\x05" + b"\0\0\0\x01" + b"\x3f\xf0\0\0\0\0\0\0" * 5
    return (_IMAGES, _LABELS, floats, wide)


@cache
def _npy() -> tuple[bytes, ...]:
    import numpy as np

    found: list[bytes] = []
    for array in (
        np.arange(20.0).reshape(5, 4),
        np.arange(20, dtype=np.float32).reshape((5, 2, 2), order="F"),
        np.arange(5, dtype=np.uint8),
        np.zeros((0, 3)),
        np.array(2.5),
    ):
        file = io.BytesIO()
        np.save(file, array)
        found.append(file.getvalue())
    return tuple(found)


@cache
def _npz() -> tuple[bytes, ...]:
    import numpy as np

    plain, packed = io.BytesIO(), io.BytesIO()
    np.savez(plain, x=np.arange(20.0).reshape(5, 4), y=np.arange(5))
    np.savez_compressed(packed, x=np.zeros((5, 2), np.float32), y=np.zeros((5, 1), np.int8))
    return (plain.getvalue(), packed.getvalue())


@cache
def _csv() -> tuple[bytes, ...]:
    return (
        b"a,b,label\n1,2,0\n0.5,-1e-3,1\n3,4,2\n",
        b"1,2,0\r\n0.5,.25,1\r\n",
        b'"a ""quoted"" name",b,label\n"1", 2 ,0\n\n3,4,1\n',
        "\ufeffgröße,label\n1,0\n".encode(),
    )


@cache
def _cifar() -> tuple[bytes, ...]:
    return (bytes(3073), bytes((1, 2)) + bytes(range(256)) * 12)


def _write(content: bytes, folder: Path, name: str) -> Path:
    path = folder / (f"{name}.gz" if binary.is_compressed(content) else name)
    path.write_bytes(content)
    return path


def _use(data: object) -> None:
    """Take the samples that a spec would."""
    from specdsl.data.dataset import Dataset

    assert isinstance(data, Dataset)
    if len(data):
        data.input(0)
        data.label(len(data) - 1)


def _read_idx(content: bytes, folder: Path) -> None:
    from specdsl.data.idx import read_array, read_idx

    path = _write(content, folder, "fuzz.idx")
    if read_array(path).ndim > 1:
        _use(read_idx(path, _write(_LABELS, folder, "labels.idx")))
    else:
        _use(read_idx(_write(_IMAGES, folder, "images.idx"), path, numbers=True))
        _use(read_idx(_write(_IMAGES, folder, "images.idx"), path))


def _read_npy(content: bytes, folder: Path) -> None:
    from specdsl.data.npz import read_npy, read_npy_pair
    from specdsl.query.elaboration.values.resources import _exact_array

    path = _write(content, folder, "fuzz.npy")
    if read_npy(path).size < 10_000:
        _exact_array(path)
    _use(read_npy_pair(path, None))


def _read_npz(content: bytes, folder: Path) -> None:
    from specdsl.data.npz import read_npz

    _use(read_npz(_write(content, folder, "fuzz.npz"), "x", "y"))


def _read_csv(content: bytes, folder: Path) -> None:
    from specdsl.data.csv_table import read_csv

    path = _write(content, folder, "fuzz.csv")
    _use(read_csv(path, None, labelled=True, numbers=True))
    _use(read_csv(path, "label", labelled=True))


def _read_cifar(content: bytes, folder: Path) -> None:
    from specdsl.data.cifar import read_cifar

    path = _write(content, folder, "fuzz.bin")
    _use(read_cifar(path, 10))


def _mutate_cells(random: Random, content: bytes, corpus: Sequence[bytes]) -> bytes:
    changed = _CELLS.mutate(random, content, corpus)
    # The reader of the standard library has a limit for the length of a cell.
    return changed + b"x" * 2**18 if random.random() < 0.003 else changed


TARGETS = (
    Target("idx", ".idx", _idx, binary.either(arrays.idx), _read_idx, 2_000),
    Target("npy", ".npy", _npy, binary.either(arrays.npy), _read_npy, 1_500),
    Target("npz", ".npz", _npz, arrays.archive, _read_npz, 1_500),
    Target("csv", ".csv", _csv, binary.either(_mutate_cells), _read_csv, 1_300),
    Target("cifar", ".bin", _cifar, binary.either(binary.mutate), _read_cifar, 250),
)
