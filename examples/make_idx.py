"""Write scikit-learn's digits as IDX files, the format of MNIST, into `specs/data/`.

    python examples/make_idx.py [FOLDER]

Pixels keep their whole grey levels from 0 to 16, one byte each. The first 1,297 digits become the
files to train on, the other 500 the files to test with.
"""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import numpy.typing as npt
import training
from training import Digits

UNSIGNED_BYTES = 0x08


def idx(array: npt.NDArray[np.uint8]) -> bytes:
    """Two zeros, the element type, the number of axes, the extents, and then the entries."""
    extents = np.array(array.shape, dtype=">u4").tobytes()
    return bytes([0, 0, UNSIGNED_BYTES, array.ndim]) + extents + array.tobytes()


def write(array: npt.NDArray[np.uint8], target: Path) -> None:
    """A gzipped file that is the same every time: without its name and the time of writing."""
    target.write_bytes(gzip.compress(idx(array), mtime=0))
    print(f"{target}: {target.stat().st_size} bytes")


def write_pair(digits: Digits, folder: Path, name: str) -> None:
    """The images and the labels of some digits."""
    levels = np.rint(digits.images.numpy() * training.GREY_LEVELS)
    images = levels.astype(np.uint8).reshape(-1, 8, 8)
    write(images, folder / f"digits-{name}-images-idx3-ubyte.gz")
    write(digits.classes.numpy().astype(np.uint8), folder / f"digits-{name}-labels-idx1-ubyte.gz")


def main() -> None:
    """Four files."""
    seen, unseen = training.digits()
    folder = training.folder(training.SPECS / "data")
    write_pair(seen, folder, "train")
    write_pair(unseen, folder, "test")


if __name__ == "__main__":
    main()
