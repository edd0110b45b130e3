"""Readers give what files hold, exactly, and refuse everything else with a located diagnostic."""

from __future__ import annotations

import gzip
import io
import struct
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from specdsl.data import Dataset, make_dataset, read_dataset
from specdsl.data.cifar import read_cifar
from specdsl.data.csv_table import read_csv
from specdsl.data.idx import read_array, read_idx
from specdsl.data.npy import array_of
from specdsl.data.npz import read_npy_pair, read_npz
from specdsl.data.sklearn_sets import read_sklearn
from specdsl.diagnostics import SpecError
from specdsl.language.spec import DatasetDeclaration
from specdsl.language.types import LabelType, TensorType, Type
from specdsl.source import Source, Span

SPAN = Span(Source("f.spec", "dataset test"), 0, 7)


def idx_bytes(array: np.ndarray, code: int = 0x08) -> bytes:
    header = struct.pack(">BBBB", 0, 0, code, array.ndim)
    return header + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def refused(call) -> str:
    with pytest.raises(SpecError) as caught:
        call()
    return caught.value.diagnostics[0].code


def declare(reader: str, path: Path, element: tuple[Type, ...], **settings) -> DatasetDeclaration:
    return DatasetDeclaration(
        "test", element, reader, (path,), MappingProxyType({}), MappingProxyType(settings), SPAN
    )


@given(arrays.arrays(np.uint8, arrays.array_shapes(min_dims=1, max_dims=3, max_side=4)))
def test_idx_files_read_back(tmp_path_factory: pytest.TempPathFactory, array: np.ndarray) -> None:
    path = tmp_path_factory.mktemp("idx") / "images"
    path.write_bytes(idx_bytes(array))
    assert np.array_equal(read_array(path), array)
    packed = path.with_suffix(".gz")
    packed.write_bytes(gzip.compress(idx_bytes(array)))
    assert np.array_equal(read_array(packed), array)


def test_idx_big_endian_floats(tmp_path: Path) -> None:
    path = tmp_path / "floats"
    path.write_bytes(idx_bytes(np.array([[0.5, -2.0]], dtype=">f4"), 0x0D))
    assert read_array(path).tolist() == [[0.5, -2.0]]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0\0\x08",
        b"\x1f\x8b\x08\0",
        b"\0\0\x42\x01\0\0\0\0",
        b"\0\0\x08\x00",
        b"\0\0\x08\xff\xff\xff",
        idx_bytes(np.zeros((2, 2), np.uint8))[:-1],
        idx_bytes(np.zeros((2, 2), np.uint8)) + b"\0",
        struct.pack(">BBBB4I", 0, 0, 8, 4, *[2**32 - 1] * 4),
        struct.pack(">BBBB4I", 0, 0, 8, 4, 0, *[2**32 - 1] * 3),
        struct.pack(">BBBB70I", 0, 0, 8, 70, *[1] * 70) + b"\0",
    ],
)
def test_damaged_idx_files_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "images"
    path.write_bytes(content)
    assert refused(lambda: read_array(path)) == "E0514"


def test_idx_counts_must_agree(tmp_path: Path) -> None:
    images, labels = tmp_path / "images", tmp_path / "labels"
    images.write_bytes(idx_bytes(np.zeros((3, 2, 2), np.uint8)))
    labels.write_bytes(idx_bytes(np.zeros(2, np.uint8)))
    assert refused(lambda: read_idx(images, labels)) == "E0512"


def test_npz(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    np.savez_compressed(path, x=np.array([[0.1], [0.2]]), y=np.array([0, 1]))
    data = read_npz(path, "x", "y")
    assert data.input(0)[0] == Fraction(0.1)
    assert data.label(1) == 1
    assert refused(lambda: read_npz(path, "inputs", "y")) == "E0516"


def test_npy_holds_inputs_alone(tmp_path: Path) -> None:
    path = tmp_path / "data.npy"
    np.save(path, np.arange(6).reshape(2, 3))
    assert read_npz(path, "x", None).input(1).tolist() == [3, 4, 5]


@given(
    arrays.arrays(
        st.sampled_from(["<f4", ">f8", "<f2", "|u1", ">i2", "<i8", "|b1", "<c16", "<U3"]),
        arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4),
    ),
    st.booleans(),
)
def test_npy_files_are_read_as_numpy_reads_them(array: np.ndarray, fortran: bool) -> None:
    file = io.BytesIO()
    np.save(file, np.asfortranarray(array) if fortran else array)
    found = array_of(file.getvalue(), Path("x.npy"))
    expected = np.load(io.BytesIO(file.getvalue()))
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    assert found.tobytes() == expected.tobytes()


HEADER = "{'descr': '<f8', 'fortran_order': False, 'shape': (2,), }"


def npy_bytes(header: str, body: bytes = bytes(16), length: int | None = None) -> bytes:
    said = len(header) if length is None else length
    return b"\x93NUMPY\x01\x00" + said.to_bytes(2, "little") + header.encode("latin-1") + body


def test_headers_of_python_2_are_read() -> None:
    assert array_of(npy_bytes(HEADER.replace("2,", "2L,")), Path("x")).tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x93NUMPY\x04\x00",
        npy_bytes(HEADER, bytes(15)),
        npy_bytes(HEADER, length=60_000),
        npy_bytes(HEADER.replace("(2,)", "(2, {)")),
        npy_bytes(HEADER.replace("(2,)", "(" * 200)),
        npy_bytes(HEADER.replace("(2,)", "(-2,)")),
        npy_bytes(HEADER.replace("(2,)", "(True,)")),
        npy_bytes(HEADER.replace("(2,)", "(0, 2**62)")),
        npy_bytes(HEADER.replace("(2,)", f"(0, {2**62})")),
        npy_bytes(HEADER.replace("(2,)", "(" + "1, " * 70 + ")")),
        npy_bytes(HEADER.replace("<f8", "f8,i4")),
        npy_bytes(HEADER.replace("'<f8'", "[('a', '<f8')]")),
        npy_bytes(HEADER.replace("<f8", "|O")),
        npy_bytes(HEADER.replace(", }", ", 'more': 1}")),
    ],
)
def test_damaged_npy_files_are_refused(content: bytes) -> None:
    assert refused(lambda: array_of(content, Path("x.npy"))) == "E0515"


def test_an_empty_dataset_is_read_and_empty_samples_are_not() -> None:
    assert len(make_dataset(np.zeros((0, 3)), None, "x")) == 0
    assert refused(lambda: make_dataset(np.zeros((3, 0)), None, "x")) == "E0510"


def test_pickles_are_never_loaded(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    np.savez(path, x=np.array([{"a": 1}], dtype=object), allow_pickle=True)
    assert refused(lambda: read_npz(path, "x", None)) == "E0515"
    path.write_bytes(b"PK\x03\x04 truncated")
    assert refused(lambda: read_npz(path, "x", None)) == "E0515"


def test_csv(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_text("a,class,b\n0.5,1,2\n1.5,0,3\n")
    data = read_csv(path, "class", labelled=True)
    assert data.input(0).tolist() == [Fraction(1, 2), 2]
    assert data.label(0) == 1
    assert read_csv(path, 1, labelled=True).label(1) == 0
    assert read_csv(path, None, labelled=False).shape == (3,)
    assert refused(lambda: read_csv(path, "klass", labelled=True)) == "E0518"
    assert refused(lambda: read_csv(path, 3, labelled=True)) == "E0518"


@pytest.mark.parametrize(
    "text", ["", "a,b\n", "1,2\n3\n", "1,2\n3,x\n", "a,b,c\n1,2\n", "1," + "2" * 2**18]
)
def test_tables_that_are_none_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "data.csv"
    path.write_text(text)
    assert refused(lambda: read_csv(path, None, labelled=True)) == "E0517"


def test_labels_of_a_table_are_whole(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_text("1,0\n2,0.5\n")
    assert refused(lambda: read_csv(path, None, labelled=True)) == "E0513"
    path.write_text("1,0\nnan,1\n")
    assert refused(lambda: read_csv(path, None, labelled=True)) == "E0511"


def test_digits_of_scikit_learn() -> None:
    data = read_sklearn("digits")
    assert data.shape == (8, 8)
    assert len(data) == 1797
    assert refused(lambda: read_sklearn("digit")) == "E0520"


def test_without_scikit_learn_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "sklearn.datasets", None)
    with pytest.raises(SpecError) as caught:
        read_sklearn("digits")
    (found,) = caught.value.diagnostics
    assert found.code == "E0519"
    assert "specdsl[data]" in (found.help or "")


@given(
    arrays.arrays(np.uint8, (2, 3)),
    st.fractions(max_denominator=300),
    st.fractions(max_denominator=300),
)
def test_scale_and_shift_are_exact(pixels: np.ndarray, scale: Fraction, shift: Fraction) -> None:
    data = Dataset(pixels, None, scale, shift)
    found = data.input(1)
    assert [v - shift for v in found] == [scale * int(p) for p in pixels[1]]


def test_not_finite_samples_are_refused() -> None:
    broken = np.array([[0.0], [np.nan]])
    assert refused(lambda: make_dataset(broken, None, "x")) == "E0511"
    assert refused(lambda: make_dataset(np.array(["a"]), None, "x")) == "E0510"


class TestDeclaredTypes:
    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        path = tmp_path / "data.npz"
        np.savez(path, x=np.zeros((2, 4), np.uint8), y=np.array([0, 9]))
        return path

    def test_the_scale_of_the_declaration_counts(self, path: Path) -> None:
        element = (TensorType((2, 2)), LabelType(10))
        data = read_dataset(declare("npz", path, element, scale=Fraction(1, 255)))
        assert data.scale == Fraction(1, 255)

    @pytest.mark.parametrize(
        ("element", "code"),
        [
            ((TensorType((2, 3)), LabelType(10)), "E0521"),
            ((TensorType((4,)), LabelType(9)), "E0522"),
        ],
    )
    def test_disagreement_is_located(
        self, path: Path, element: tuple[Type, ...], code: str
    ) -> None:
        with pytest.raises(SpecError) as caught:
            read_dataset(declare("npz", path, element))
        (found,) = caught.value.diagnostics
        assert found.code == code
        assert found.primary is not None
        assert found.primary.span == SPAN


def test_npy_pairs_and_targets_that_are_numbers(tmp_path: Path) -> None:
    inputs, targets = tmp_path / "x.npy", tmp_path / "y.npy"
    np.save(inputs, np.arange(6).reshape(2, 3))
    np.save(targets, np.array([[0.5], [-1.25]], dtype=np.float32))
    data = read_npy_pair(inputs, targets, numbers=True)
    assert [data.label(0), data.label(1)] == [Fraction(1, 2), Fraction(-5, 4)]
    assert refused(lambda: read_npy_pair(inputs, targets)) == "E0513"
    np.save(targets, np.array([0.5, np.inf]))
    assert refused(lambda: read_npy_pair(inputs, targets, numbers=True)) == "E0511"
    np.save(targets, np.array([0.5]))
    assert refused(lambda: read_npy_pair(inputs, targets, numbers=True)) == "E0512"
    np.save(targets, np.zeros((2, 3)))
    assert refused(lambda: read_npy_pair(inputs, targets, numbers=True)) == "E0513"


@pytest.mark.parametrize("classes", [10, 100])
def test_cifar_in_its_binary_form(tmp_path: Path, classes: int) -> None:
    path = tmp_path / "batch.bin"
    pixels = np.arange(2 * 3072).astype(np.uint8).reshape(2, 3, 32, 32)
    coarse = b"\7" if classes == 100 else b""
    both = zip((3, 9), pixels, strict=True)
    samples = [coarse + bytes([label]) + image.tobytes() for label, image in both]
    path.write_bytes(b"".join(samples))
    data = read_cifar(path, classes)
    assert data.shape == (3, 32, 32)
    assert [data.label(0), data.label(1)] == [3, 9]
    assert (data.inputs == pixels).all()
    assert refused(lambda: read_cifar(path, 110 - classes)) == "E0523"
    assert refused(lambda: read_cifar(path, 20)) == "E0523"
    path.write_bytes(b"")
    assert refused(lambda: read_cifar(path, classes)) == "E0523"
