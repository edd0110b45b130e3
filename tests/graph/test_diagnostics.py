"""The messages about networks, as users read them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from onnx import helper

from specdsl.codes import CODES
from specdsl.diagnostics import SpecError, render
from specdsl.graph.layers import build_network
from specdsl.graph.onnx_import.load import load_onnx
from specdsl.graph.runtime import Runtime
from specdsl.graph.to_onnx import export
from tests.conftest import Golden
from tests.graph.onnx_models import one_node
from tests.graph.test_from_onnx import REFUSED
from tests.graph.test_hostile_onnx import BOMBS, MALFORMED, model, small
from tests.graph.test_layers import MISTAKES, network
from tests.graph.test_to_onnx import beyond_float32

# Raised where import and runtime disagree, about PyTorch modules and about trained files: tested
# elsewhere.
NOT_HERE = {"E0610", "E0615", "E0623"}
# In the words of the onnx package or of ONNX Runtime, which change from version to version.
WORDS_OF_OTHERS = ("is not valid ONNX", "ONNX Runtime cannot load")


def refused() -> Iterator[SpecError]:
    """One error of each kind there is."""
    files = [b"", b"garbage", one_node("Asinh", [1, 3])]
    files += [proto.SerializeToString() for proto, _ in REFUSED.values()]
    for nodes, extent, constants in MALFORMED.values():
        files.append(model(nodes, extent, constants, output_shape=["n"]).SerializeToString())
    bomb, constants = BOMBS["doubling"]
    files.append(model(bomb, [1, 3], constants, output_shape=["n", "m"]).SerializeToString())
    for change in (_nan, _dangling, _external, _custom, _loop, _no_input):
        proto = small()
        change(proto)
        files.append(proto.SerializeToString())
    for content in files:
        yield _error(lambda content=content: load_onnx(content, "net.onnx"))
    for layers, shape, _ in MISTAKES.values():
        yield _error(lambda layers=layers, shape=shape: network(layers, shape))
    yield _error(lambda: export(beyond_float32(), "net"))


def _error(action: object) -> SpecError:
    try:
        action()  # type: ignore[operator]
    except SpecError as error:
        return error
    raise AssertionError("nothing was refused")


def _nan(proto):  # type: ignore[no-untyped-def]
    weight = np.full((3, 4), np.nan, np.float32)
    proto.graph.initializer[0].raw_data = weight.tobytes()


def _dangling(proto):  # type: ignore[no-untyped-def]
    proto.graph.node[1].input[0] = "missing"


def _external(proto):  # type: ignore[no-untyped-def]
    proto.graph.initializer[0].data_location = 1


def _custom(proto):  # type: ignore[no-untyped-def]
    proto.graph.node[1].domain = "com.microsoft"


def _loop(proto):  # type: ignore[no-untyped-def]
    proto.graph.node[1].CopyFrom(helper.make_node("Loop", ["h"], ["r"], name="repeat"))


def _no_input(proto):  # type: ignore[no-untyped-def]
    del proto.graph.input[0]


def test_every_message_about_networks(golden: Golden) -> None:
    errors = list(refused())
    ours = (e for e in errors if not any(words in str(e) for words in WORDS_OF_OTHERS))
    text = "\n\n".join(render(d) for e in ours for d in e.diagnostics)
    golden.check("graph/diagnostics.txt", text)
    seen = {d.code for e in errors for d in e.diagnostics}
    listed = {code for code in CODES if "E0600" <= code < "E0650"}
    assert listed - seen == NOT_HERE


def test_what_the_runtime_refuses_has_its_own_code() -> None:
    error = _error(lambda: Runtime(b"garbage", "net"))
    assert error.diagnostics[0].code == "E0611"


def test_an_import_that_computes_something_else_is_refused(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    """A misread op: here the import of Neg, made to do nothing."""
    from specdsl.graph.onnx_import import load as from_onnx

    rules = {**from_onnx.RULES, "Neg": from_onnx.RULES["Identity"]}
    monkeypatch.setattr(from_onnx, "RULES", rules)
    error = _error(lambda: load_onnx(one_node("Neg", [1, 3]), "net.onnx"))
    assert error.diagnostics[0].code == "E0610"
    assert "net.onnx" in error.diagnostics[0].message


def test_an_empty_network_of_layers_is_the_identity() -> None:
    found = build_network("net", [], (2,), lambda _: "")
    assert found.graph.input == found.graph.output
    assert Runtime(found.model, "net").run(np.ones((1, 2), np.float32)).tolist() == [[1.0, 1.0]]
