"""Files made to hurt: each gives a diagnostic, in bounded time and memory, and opens nothing else.

Every file is loaded in a child with a limit of 1 GiB above what it starts with, 10 seconds of
processor time, and an audit hook on everything that is opened (`hostile_worker`).
"""

from __future__ import annotations

import gzip
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.graph.onnx_models import Node, floats, integers, model

ROOT = Path(__file__).parents[2]
# The worker itself is stopped here; its children have limits of their own.
WORKER_SECONDS = 250


def good() -> onnx.ModelProto:
    weights = {"w1": floats(3, 4), "b1": floats(4), "w2": floats(4, 2), "b2": floats(2)}
    nodes: list[Node] = [
        ("Gemm", ["x", "w1", "b1"], ["h"], {}),
        ("Relu", ["h"], ["r"], {}),
        ("Gemm", ["r", "w2", "b2"], ["y"], {}),
    ]
    return model(nodes, [1, 3], weights)


def external(location: str, **entries: str) -> bytes:
    """The good network with its first weight in another file."""
    proto = good()
    tensor = proto.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **entries}.items():
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value
    return proto.SerializeToString()


def symbolic_link(folder: Path) -> bytes:
    (folder / "weights").symlink_to("/etc/passwd")
    return external("weights")


def fifo(folder: Path) -> bytes:
    os.mkfifo(folder / "pipe")
    return external("pipe")


def with_weight(value: float) -> bytes:
    proto = good()
    weight = floats(3, 4)
    weight[2, 1] = value
    proto.graph.initializer[0].CopyFrom(numpy_helper.from_array(weight, "w1"))
    return proto.SerializeToString()


def huge_shape() -> bytes:
    proto = good()
    tensor = proto.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.dims[:] = [10**6, 10**6]
    return proto.SerializeToString()


def bomb(nodes: list[Node], constants: Mapping[str, np.ndarray]) -> bytes:
    return model(nodes, [1, 3], constants, output_shape=["n", "m"]).SerializeToString()


def changed(change: Callable[[onnx.ModelProto], object]) -> bytes:
    proto = good()
    change(proto)
    return proto.SerializeToString()


def cycle(proto: onnx.ModelProto) -> None:
    proto.graph.node[0].input[0] = "r"


def dangling(proto: onnx.ModelProto) -> None:
    proto.graph.node[1].input[0] = "nowhere"


def duplicate_output(proto: onnx.ModelProto) -> None:
    proto.graph.node[1].output[0] = "h"
    proto.graph.node[2].input[0] = "h"


def custom_domain(proto: onnx.ModelProto) -> None:
    proto.graph.node[1].domain = "com.example"
    proto.opset_import.append(helper.make_opsetid("com.example", 1))


def control_flow(proto: onnx.ModelProto) -> None:
    body = helper.make_graph([helper.make_node("Relu", ["h"], ["r"])], "body", [], [])
    proto.graph.node[1].CopyFrom(helper.make_node("Loop", ["h"], ["r"], body=body))


def deep_control_flow(proto: onnx.ModelProto) -> None:
    body = helper.make_graph([helper.make_node("Relu", ["h"], ["r"])], "body", [], [])
    for _ in range(40):
        node = helper.make_node("If", ["h"], ["r"], then_branch=body, else_branch=body)
        body = helper.make_graph([node], "body", [], [])
        if body.ByteSize() > 10**6:
            break
    proto.graph.node[1].CopyFrom(helper.make_node("If", ["h"], ["r"], then_branch=body))


def chain(length: int) -> bytes:
    nodes: list[Node] = [("Relu", [f"n{i}"], [f"n{i + 1}"], {}) for i in range(length)]
    proto = model([("Relu", ["x"], ["n0"], {})], [1, 3], output="n0", output_shape=[1, 3])
    proto.graph.node.extend(helper.make_node(o, i, r) for o, i, r, _ in nodes)
    proto.graph.output[0].name = f"n{length}"
    return proto.SerializeToString()


def repeated(field: bytes, count: int) -> bytes:
    """A graph of `count` equal fields: short messages that become large objects."""
    body = field * count
    length, encoded = len(body), bytearray()
    while length >= 0x80:
        encoded.append(length & 0x7F | 0x80)
        length >>= 7
    encoded.append(length)
    return good().SerializeToString() + b"\x3a" + bytes(encoded) + body


def gzipped_zeros(size: int) -> bytes:
    return gzip.compress(bytes(2**20)) * (size // 2**20)


CONSTANT_OF_SHAPE: list[Node] = [
    ("ConstantOfShape", ["s"], ["c"], {}),
    ("Add", ["x", "c"], ["y"], {}),
]
DOUBLING: list[Node] = [
    ("Concat", ["x", "x"], ["n0"], {"axis": 1}),
    *[("Concat", [f"n{i}"] * 2, [f"n{i + 1}"], {"axis": 1}) for i in range(60)],
    ("Relu", ["n60"], ["y"], {}),
]
TERABYTES = integers(10**6, 10**6)

# Name of the file: what it holds, and the code of its diagnostic. Content that is None is made by
# the test itself.
Content = Callable[[Path], bytes]
FILES: dict[str, tuple[Content, str]] = {
    "external-above.onnx": (lambda _: external("../../secret"), "E0603"),
    "external-absolute.onnx": (lambda _: external("/etc/passwd"), "E0603"),
    "external-link.onnx": (symbolic_link, "E0603"),
    "external-fifo.onnx": (fifo, "E0603"),
    "external-negative.onnx": (lambda _: external("w", offset="-8", length="48"), "E0603"),
    "nan.onnx": (lambda _: with_weight(np.nan), "E0606"),
    "infinite.onnx": (lambda _: with_weight(np.inf), "E0606"),
    "empty.onnx": (lambda _: b"", "E0600"),
    "huge-shape.onnx": (lambda _: huge_shape(), "E0602"),
    "constant-of-shape.onnx": (lambda _: bomb(CONSTANT_OF_SHAPE, {"s": TERABYTES}), "E0602"),
    "expand.onnx": (
        lambda _: bomb([("Expand", ["x", "s"], ["y"], {})], {"s": integers(10**6, 10**6, 3)}),
        "E0602",
    ),
    "doubling.onnx": (lambda _: bomb(DOUBLING, {}), "E0602"),
    "tile.onnx": (
        lambda _: bomb([("Tile", ["x", "s"], ["y"], {})], {"s": TERABYTES}),
        "E0602",
    ),
    "range.onnx": (
        lambda _: bomb(
            [("Range", ["a", "b", "c"], ["r"], {}), ("Gather", ["x", "r"], ["y"], {})],
            {"a": np.int64(0), "b": np.int64(10**13), "c": np.int64(1)},
        ),
        "E0602",
    ),
    "cycle.onnx": (lambda _: changed(cycle), "E0601"),
    "dangling.onnx": (lambda _: changed(dangling), "E0601"),
    "duplicate-output.onnx": (lambda _: changed(duplicate_output), "E0601"),
    "custom-domain.onnx": (lambda _: changed(custom_domain), "E0613"),
    "loop.onnx": (lambda _: changed(control_flow), "E0612"),
    "deep-loops.onnx": (lambda _: changed(deep_control_flow), "E0612"),
    "truncated.onnx": (lambda _: good().SerializeToString()[:-30], "E0600"),
    "garbage.onnx": (lambda _: np.random.default_rng(0).bytes(5_000), "E0600"),
    "pickle.onnx": (lambda _: pickle.dumps([print, "weights"]), "E0600"),
    "truncated.onnx.gz": (lambda _: gzip.compress(good().SerializeToString())[:-9], "E0504"),
    "zeros.onnx.gz": (lambda _: gzipped_zeros(2**30), "E0503"),
    # Empty nodes, as many as 60 MB hold, and those of a file that is not too large beside weights.
    "nodes.onnx": (lambda _: repeated(b"\x0a\x00", 30_000_000), "E0602"),
    "fewer-nodes.onnx": (lambda _: repeated(b"\x0a\x00", 500_000), "E0602"),
    # Nodes with empty attributes, each too small to be looked into.
    "attributes.onnx": (lambda _: repeated(b"\x0a\xfe\x07" + b"\x2a\x00" * 511, 8_000), "E0601"),
    "long-chain.onnx": (lambda _: chain(20_000), "loaded"),
    "longer-chain.onnx": (lambda _: chain(60_000), "E0602"),
}
# Made by the file system, not by content.
SPECIAL = {"folder.onnx": "E0502", "pipe.onnx": "E0502", "missing.onnx": "E0501"}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What the worker says about every file, by name."""
    folder = tmp_path_factory.mktemp("hostile")
    (folder / "good.onnx").write_bytes(good().SerializeToString())
    for name, (content, _) in FILES.items():
        (folder / name).write_bytes(content(folder))
    (folder / "folder.onnx").mkdir()
    os.mkfifo(folder / "pipe.onnx")
    files = [folder / name for name in ("good.onnx", *FILES, *SPECIAL)]
    result = subprocess.run(
        [sys.executable, "-m", "tests.graph.hostile_worker", folder, *files],
        capture_output=True,
        text=True,
        timeout=WORKER_SECONDS,
        check=False,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert result.returncode == 0, result.stderr
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    return {line["file"]: line for line in lines}


@pytest.mark.parametrize(
    ("name", "code"),
    [*((name, code) for name, (_, code) in FILES.items()), *SPECIAL.items()],
)
def test_a_hostile_file_is_a_diagnostic_at_once_and_opens_nothing_else(
    outcomes: dict[str, dict[str, Any]], name: str, code: str
) -> None:
    found = outcomes[name]
    assert found["ending"] == code, found
    assert found["trespasses"] == []
    assert not found["message"].endswith(".")


def test_the_audit_hook_sees_what_is_opened() -> None:
    program = (
        "import sys, pathlib\n"
        "from tests.graph.hostile_worker import Watch\n"
        "watch = Watch(pathlib.Path('/proc'))\n"
        "sys.addaudithook(watch)\n"
        "open('/proc/self/statm').close(); open('/etc/passwd').close()\n"
        "import os; os.close(os.open('/etc/passwd', os.O_RDONLY))\n"
        "print(watch.trespasses)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert result.stdout.strip() == "['open /etc/passwd', 'open /etc/passwd']"


def test_the_command_line_ends_with_a_usage_error(tmp_path: Path) -> None:
    network, query = tmp_path / "net.onnx", tmp_path / "query.vnnlib"
    network.write_bytes(external("/etc/passwd"))
    query.write_text("(declare-const X_0 Real)\n(declare-const Y_0 Real)\n(assert (>= Y_0 0))\n")
    result = subprocess.run(
        [sys.executable, "-m", "specdsl.cli", "solve", network, query, "--timeout", "5"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 2, result.stdout + result.stderr
    assert "E0603" in result.stderr
    assert "Traceback" not in result.stderr
