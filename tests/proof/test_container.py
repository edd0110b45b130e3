"""Damaged and hostile certificates are refused, each with a reason."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from specdsl.certificates.files import write_container
from specdsl.certificates.question import state
from specdsl.graph import ops
from specdsl.graph.graph import GraphBuilder
from specdsl.proof import EXACT, Refused, check, read_certificate
from specdsl.proof.container import LENGTH_BYTES, MAGIC, read_container
from specdsl.query.query import Atom, Case, Query, Variable
from specdsl.query.sets import Box, exact
from tests.proof.certificates import certified, file_of


def narrow_query() -> Query:
    """`relu(x) - relu(x - 1) + 1/4 > 0` on [-1, 2]: takes some splits."""
    builder = GraphBuilder()
    x = builder.add(ops.Input((1,)), name="x")
    hidden = builder.add(ops.Dense(np.array([[1.0], [1.0]]), np.array([0.0, -1.0])), x)
    relu = builder.add(ops.Relu(), hidden)
    out = builder.add(ops.Dense(np.array([[1.0, -1.0]]), np.array([0.25])), relu)
    box = Box(exact([-1]), exact([2]))
    case = Case(box, (Atom(0),))
    return Query("q", builder.build(out), (case,), (Variable.at("x", 0, (1,)),), ())


FILE = certified(narrow_query())


def rebuilt(data: bytes, change: object) -> bytes:
    """With another header, its sections as they were."""
    container = read_container(data)
    header = json.loads(
        json.dumps({k: v for k, v in container.header.record.items() if k != "sections"})
    )
    sections = dict(container.sections)
    change(header, sections)  # pyright: ignore[reportCallIssue]
    return write_container(header, sections)


def test_the_whole_file_is_accepted() -> None:
    assert FILE is not None
    assert check(read_certificate(FILE.content)).leaves == FILE.leaves


@pytest.mark.parametrize("length", [0, 5, len(MAGIC), len(MAGIC) + LENGTH_BYTES, 100, 400])
def test_what_is_cut_off_is_refused(length: int) -> None:
    assert FILE is not None
    with pytest.raises(Refused):
        read_certificate(FILE.content[:length])


@settings(deadline=None, max_examples=300)
@given(st.integers(0, 2**32 - 1))
def test_damaged_bytes_are_refused_or_still_prove_it(seed: int) -> None:
    assert FILE is not None
    rng = random.Random(seed)
    data = bytearray(FILE.content)
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(data))
        data[at] = rng.randrange(256)
    try:
        found = check(read_certificate(bytes(data)))
    except Refused:
        return
    assert check(read_certificate(bytes(data)), EXACT).question == found.question


def drop_a_leaf(header: dict, sections: dict) -> None:
    name = header["proofs"][0]["tree"]
    sections[name] = sections[name][:8] + sections[name][9:]


def turn_a_split(header: dict, sections: dict) -> None:
    name = header["proofs"][0]["tree"]
    data = bytearray(sections[name])
    data[-8:] = np.float64(50.0).tobytes()
    sections[name] = bytes(data)


def forget_a_case(header: dict, sections: dict) -> None:
    header["proofs"][0]["cases"] = []


def ask_another_margin(header: dict, sections: dict) -> None:
    header["question"]["cases"][0]["margins"] = [5]


def widen_the_set(header: dict, sections: dict) -> None:
    own = header["question"]["sets"][0]
    own["lower"], own["upper"] = own["upper"], own["lower"]


def swap_tensors(header: dict, sections: dict) -> None:
    records = header["question"]["tensors"]
    records[0]["sha256"], records[1]["sha256"] = records[1]["sha256"], records[0]["sha256"]


def put_nan(header: dict, sections: dict) -> None:
    for record in header["question"]["tensors"]:
        if record["dtype"] == "f8":
            from hashlib import sha256

            data = np.full(record["shape"], np.nan).tobytes()
            record["sha256"] = sha256(data).hexdigest()
            sections[record["sha256"]] = data
            return


def read_later_nodes(header: dict, sections: dict) -> None:
    header["question"]["nodes"][1]["in"] = [3]


def invent_an_op(header: dict, sections: dict) -> None:
    header["question"]["nodes"][2]["op"] = "magic"


def bend_the_relu(header: dict, sections: dict) -> None:
    node = header["question"]["nodes"][2]
    node["values"] = node["slopes"]


CHANGES = (
    drop_a_leaf,
    forget_a_case,
    ask_another_margin,
    swap_tensors,
    put_nan,
    read_later_nodes,
    invent_an_op,
    bend_the_relu,
    turn_a_split,
)


@pytest.mark.parametrize("change", CHANGES, ids=lambda c: c.__name__)
def test_changed_certificates_are_refused(change: object) -> None:
    assert FILE is not None
    with pytest.raises(Refused):
        check(read_certificate(rebuilt(FILE.content, change)))


def test_a_set_without_points_needs_no_bounds() -> None:
    assert FILE is not None
    assert check(read_certificate(rebuilt(FILE.content, widen_the_set))).leaves == FILE.leaves


def test_a_question_has_a_digest_of_all_that_it_says() -> None:
    query = narrow_query()
    first = read_certificate(file_of(state(query, "real"))).question.digest
    other = read_certificate(file_of(state(query, "float32_any_order"))).question.digest
    assert first == read_certificate(file_of(state(narrow_query(), "real"))).question.digest
    assert first != other


@pytest.mark.parametrize("entry", ['"proofs":[]', '"made_by":{"a":1,"a":2}', '"made_by":NaN'])
def test_headers_that_readers_might_disagree_about_are_refused(entry: str) -> None:
    data = file_of(state(narrow_query(), "real"))
    start = len(MAGIC) + LENGTH_BYTES
    end = start + int.from_bytes(data[len(MAGIC) : start], "little")
    header = data[start:end][:-1] + b"," + entry.encode() + b"}"
    length = len(header).to_bytes(LENGTH_BYTES, "little")
    with pytest.raises(Refused, match="header"):
        read_certificate(MAGIC + length + header + data[end:])


def test_nested_headers_are_refused() -> None:
    text = b"[" * 100_000
    data = MAGIC + len(text).to_bytes(LENGTH_BYTES, "little") + text
    with pytest.raises(Refused):
        read_container(data)


def test_expansion_is_bounded_by_what_the_header_says() -> None:
    import zlib

    packed = zlib.compress(b"0" * 10_000_000, 9)
    section = {"name": "t", "bytes": 10, "stored": len(packed), "sha256": ""}
    text = json.dumps({"sections": [section]}).encode()
    data = MAGIC + len(text).to_bytes(LENGTH_BYTES, "little") + text + packed
    with pytest.raises(Refused, match="as long as it says"):
        read_container(data)
