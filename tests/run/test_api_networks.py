"""Networks handed over in Python, and weights of inline networks from safetensors files."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import specdsl
from specdsl.diagnostics import Diagnostic, SpecError
from specdsl.graph.isomorphism import difference
from specdsl.graph.rewrites.simplify import simplify
from specdsl.graph.to_onnx import export
from specdsl.graph.torch_import.load import load_module
from specdsl.query.elaboration.values.networks import LoadedNetwork
from specdsl.query.elaboration.values.resources import Resources
from specdsl.run.pipeline import load_spec
from specdsl.run.result import Report
from tests.graph.torch_modules import Function, trained

GIVEN = """spec 1.0
network net: real[2] -> real[2] = given
property small = forall x in box([0, 0], [1, 1]): net(x)[0] <= 100
property order = forall x in box([0, 0], [1, 1]): net(x)[0] <= net(x)[1]
property inside = forall x in box([0, 0], [1, 1]): net.hidden("relu")(x)[0] <= -1
"""


@pytest.fixture
def net() -> nn.Module:
    return trained(nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 2)), seed=1)


def write(folder: Path, text: str) -> Path:
    path = folder / "f.spec"
    path.write_text(text)
    return path


def check(folder: Path, text: str, **networks: Any) -> Report:
    return specdsl.load(write(folder, text), networks=networks).check("search")


def results(report: Report) -> dict[str, Any]:
    return {r.property_name: r for outcome in report.checks for r in outcome.results}


def problem(report: Report) -> Diagnostic:
    (result,) = results(report).values()
    (found,) = result.diagnostics
    return found


# --- modules -------------------------------------------------------------------------------------


def test_a_module_is_checked_and_replays_its_counterexamples(
    tmp_path: Path, net: nn.Module
) -> None:
    found = results(check(tmp_path, GIVEN + "check small\ncheck order\ncheck inside", net=net))
    assert found["small"].verdict == "verified"
    for name in ("order", "inside"):
        witness = found[name].witness
        assert found[name].verdict == "falsified"
        assert witness.replayed_with == f"torch {torch.__version__}"
        (call,) = witness.calls
        said = net(torch.from_numpy(np.asarray(call.inputs))[None]).detach().numpy().reshape(-1)
        assert np.array_equal(said, call.outputs)


def test_a_module_goes_before_a_file(tmp_path: Path, net: nn.Module) -> None:
    text = GIVEN.replace("= given", '= onnx("absent.onnx")') + "check small"
    assert results(check(tmp_path, text, net=net))["small"].verdict == "verified"


def test_the_report_counts_no_file(tmp_path: Path, net: nn.Module) -> None:
    report = check(tmp_path, GIVEN + "check small", net=net)
    assert report.diagnostics == ()


def test_several_inputs_and_outputs_are_those_of_the_declaration(tmp_path: Path) -> None:
    def forward(image: Tensor, speed: Tensor) -> tuple[Tensor, Tensor]:
        return image.flatten(1).sum(1, keepdim=True) + speed, image.amax((1, 2, 3))

    text = """spec 1.0
network drive: (image: real[3, 2, 2], speed: real) -> (steering: real, light: real) = given
property p {
  forall image in box(0, 1), v in [2, 3]
  show 1 <= drive(image, v).steering <= 15 and -1 <= drive(image, v).light <= 1
}
check p
"""
    text = text.replace("box(0, 1)", f"box({zeros()}, {zeros()})")
    report = check(tmp_path, text, drive=Function(forward).eval())
    assert results(report)["p"].verdict == "verified"


def zeros() -> str:
    return str(np.zeros((3, 2, 2), dtype=int).tolist())


def test_outputs_are_denormalised(tmp_path: Path) -> None:
    text = """spec 1.0
network net: real[1] -> real = given(denormalize = affine(scale = 10, shift = 1))
property p = forall x in [0, 1]: 0 <= net(x) <= 12
property q = forall x in [0, 1]: net(x) <= 10
check p
check q
"""
    found = results(check(tmp_path, text, net=Function(lambda x: x * 1).eval()))
    assert [found[n].verdict for n in "pq"] == ["verified", "falsified"]


def test_the_shape_may_depend_on_a_parameter_that_is_swept(tmp_path: Path) -> None:
    text = """spec 1.0
param n: int = 2
space Point { entries: real[n] in [0, 1] }
network net: Point -> real = given
property p = forall x in Point: net(x) <= 9
check p
"""
    module = Function(lambda x: x.sum(1)).eval()
    report = specdsl.load(write(tmp_path, text), {"n": "2..3"}, networks={"net": module}).check()
    assert [r.verdict for outcome in report.checks for r in outcome.results] == ["verified"] * 2


def test_the_module_is_read_when_it_is_checked(tmp_path: Path, net: nn.Module) -> None:
    spec = specdsl.load(write(tmp_path, GIVEN + "check small"), networks={"net": net})
    assert results(spec.check())["small"].verdict == "verified"
    with torch.no_grad():
        net[2].bias.fill_(1000.0)
    assert results(spec.check())["small"].verdict == "falsified"


# --- modules that are refused --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("module", "code", "text"),
    [
        (nn.Linear(2, 2), "E0615", "training mode"),
        (nn.Linear(3, 2).eval(), "E0615", "fails on zeros of shape (1, 2)"),
        (nn.Linear(2, 3).eval(), "E0650", "declared with 2 output entries"),
        (Function(lambda x: (x, x)).eval(), "E0650", "declared with 1 outputs"),
        (Function(lambda x: torch.sort(x)[0]).eval(), "E0604", "no rule for op `aten.sort`"),
        ("net.onnx", "E0652", "what was handed over for `net` is a `str`"),
    ],
)
def test_modules_that_do_not_fit_are_diagnostics_at_the_declaration(
    tmp_path: Path, module: object, code: str, text: str
) -> None:
    found = problem(check(tmp_path, GIVEN + "check small", net=module))
    assert found.code == code
    assert text in found.message
    assert found.primary is not None
    assert found.primary.span.text.startswith("network net")


def test_a_network_that_is_given_must_be_handed_over(tmp_path: Path) -> None:
    found = problem(check(tmp_path, GIVEN + "check small"))
    assert found.code == "E0652"
    assert 'networks={"net": module}' in str(found.help)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("ent", "the spec declares no network `ent`"),
        ("twice", "`twice` is made of other networks"),
    ],
)
def test_names_must_be_those_of_networks(
    tmp_path: Path, net: nn.Module, name: str, text: str
) -> None:
    path = write(tmp_path, GIVEN + "network twice: real[2] -> real[2] = net >> net\n")
    with pytest.raises(SpecError) as caught:
        specdsl.load(path, networks={name: net})
    assert caught.value.diagnostics[0].code == "E0652"
    assert text in caught.value.diagnostics[0].message


# --- weights from files --------------------------------------------------------------------------

INLINE = """spec 1.0
network net: real[2, 4, 4] -> real[3] {
  layer conv(2, kernel = 3, padding = 1)
  layer batch_norm(epsilon = 1/131072)
  layer relu
  layer conv_transpose(2, kernel = 2, stride = 2)
  layer group_norm(2, epsilon = 1/131072)
  layer flatten
  layer dense(3)
  weights = safetensors("net.safetensors")
}
let z = 0
property p = forall x in [0, 1]: x <= 1
"""


def module() -> nn.Module:
    epsilon = 2.0**-17
    return trained(
        nn.Sequential(
            nn.Conv2d(2, 2, 3, padding=1),
            nn.BatchNorm2d(2, eps=epsilon),
            nn.ReLU(),
            nn.ConvTranspose2d(2, 2, 2, stride=2),
            nn.GroupNorm(2, 2, eps=epsilon),
            nn.Flatten(),
            nn.Linear(128, 3),
        )
    )


def save(path: Path, tensors: dict[str, Tensor]) -> None:
    header: dict[str, Any] = {}
    numbers = b""
    for name, tensor in tensors.items():
        held = tensor.detach().numpy().astype("<f4").tobytes()
        place = [len(numbers), len(numbers) + len(held)]
        shape = list(tensor.shape)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": place}
        numbers += held
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + numbers)


def floats(module: nn.Module, prefix: str = "") -> dict[str, Tensor]:
    state = module.state_dict()
    return {prefix + k: v for k, v in state.items() if v.is_floating_point()}


def inline(folder: Path, text: str = INLINE) -> LoadedNetwork:
    return Resources().network(load_spec(write(folder, text)), "net")


def test_layers_with_the_weights_of_a_module_are_the_module(tmp_path: Path) -> None:
    net = module()
    save(tmp_path / "net.safetensors", floats(net))
    ours = simplify(inline(tmp_path).imported.graph)
    theirs = simplify(load_module(net, [(1, 2, 4, 4)], "net").graph)
    assert difference(ours, theirs) is None


def test_layers_with_names_and_a_prefix_take_the_tensors_called_so(tmp_path: Path) -> None:
    net = trained(nn.Sequential(nn.Linear(2, 3, bias=False), nn.ReLU(), nn.Linear(3, 1)))
    state = floats(net, "model.")
    renamed = {k.replace(".0.", ".first.").replace(".2.", ".last."): v for k, v in state.items()}
    save(tmp_path / "net.safetensors", renamed)
    text = """spec 1.0
network net: real[2] -> real {
  layer first = dense(3)
  layer relu
  layer last = dense(1, bias = [1/3])
  weights = safetensors("net.safetensors", prefix = "model.")
}
"""
    graph = inline(tmp_path, text).imported.graph
    first, last = graph.op("first"), graph.op("last")
    assert np.array_equal(first.weight, net[0].weight.detach().numpy())  # type: ignore[attr-defined]
    assert not first.bias.any()  # type: ignore[attr-defined]
    assert np.array_equal(last.weight, net[2].weight.detach().numpy())  # type: ignore[attr-defined]
    assert [str(b) for b in last.bias] == ["1/3"]  # type: ignore[attr-defined]
    assert export(graph, "net")


@pytest.mark.parametrize(
    ("change", "code", "text"),
    [
        (("dense(3)", "dense(3, weight = [[1]])"), "E0621", "the weight takes 1 entries"),
        (("net.safetensors", "net.bin"), "E0804", "is no safetensors file by its name"),
        (("net.safetensors", "../net.safetensors"), "E0810", "leaves the folder"),
        (('("net.safetensors")', "()"), "E0805", "`safetensors` needs `file`"),
        (("safetensors(", "pickle("), "E0804", "no weight file is called `pickle`"),
    ],
)
def test_what_is_wrong_in_the_text_is_found_before_the_file_is_read(
    tmp_path: Path, change: tuple[str, str], code: str, text: str
) -> None:
    with pytest.raises(SpecError) as caught:
        load_spec(write(tmp_path, INLINE.replace(*change)))
    assert caught.value.diagnostics[0].code == code
    assert text in caught.value.diagnostics[0].message


@pytest.mark.parametrize(
    ("name", "tensor", "code", "text"),
    [
        ("6.weight", None, "E0622", "has no tensor `6.weight`"),
        ("1.running_var", None, "E0622", "has no tensor `1.running_var`"),
        ("6.weight", torch.zeros(4, 128), "E0621", "is [4, 128], the layer takes [3, 128]"),
        ("0.weight", torch.zeros(2, 2, 5, 5), "E0621", "the layer takes [2, 2, 3, 3]"),
        ("3.weight", torch.zeros(2, 3, 2, 2), "E0621", "the layer takes [2, 2, 2, 2]"),
        ("6.bias", torch.zeros(4), "E0621", "the bias has 4 entries"),
        ("0.weight", torch.full((2, 2, 3, 3), float("inf")), "E0606", "NaN or infinity"),
        ("1.running_mean", torch.zeros(3), "E0621", "`mean` has 3 entries"),
    ],
)
def test_tensors_that_do_not_fit_are_diagnostics_at_the_layer(
    tmp_path: Path, name: str, tensor: Tensor | None, code: str, text: str
) -> None:
    tensors = floats(module())
    del tensors[name]
    if tensor is not None:
        tensors[name] = tensor
    save(tmp_path / "net.safetensors", tensors)
    with pytest.raises(SpecError) as caught:
        inline(tmp_path)
    (found,) = caught.value.diagnostics
    assert found.code == code
    assert text in found.message
    assert found.primary is not None


def test_a_file_that_is_not_there_is_a_diagnostic_at_the_setting(tmp_path: Path) -> None:
    with pytest.raises(SpecError) as caught:
        inline(tmp_path)
    (found,) = caught.value.diagnostics
    assert found.code == "E0501"
    assert found.primary is not None
    assert found.primary.span.text.startswith("safetensors(")
