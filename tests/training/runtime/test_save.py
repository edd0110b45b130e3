"""Trained networks in files: what was written is read again, by this program and by others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from specdsl.diagnostics import SpecError, render
from specdsl.graph.runtime import Runtime
from specdsl.graph.safetensors import read_tensors
from specdsl.language.checking.check import check
from specdsl.language.parsing.parser import parse
from specdsl.query.elaboration.values.resources import Resources
from specdsl.source import Source
from specdsl.training.plan.recipe import KEY
from specdsl.training.runtime.networks.graph_module import from_onnx
from specdsl.training.runtime.networks.network import Trainable
from specdsl.training.runtime.networks.save import (
    device_named,
    load_safetensors,
    save_onnx,
    save_safetensors,
)
from tests.conftest import Golden

SHAPE = (1, 6, 6)
SPEC = """spec 1.0
space Image {{ x: real[1, 6, 6] in [0, 1] }}
network net: Image -> real[3] {{
  layer conv(2, kernel = 3)
  layer batch_norm
  layer relu
  layer flatten
  layer dense(3)
  weights = safetensors("{file}", prefix = "{prefix}")
}}
"""


def network(seed: int = 0) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers = nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(32, 3)
        module = nn.Sequential(*layers)
        # Statistics and factors that are not those of the beginning.
        for _ in range(3):
            module(torch.rand(8, *SHAPE))
        nn.init.uniform_(layers[1].weight)
        return module.eval()


def inputs() -> torch.Tensor:
    return torch.rand(7, *SHAPE, generator=torch.Generator().manual_seed(3))


def replayed(model: bytes) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """What ONNX Runtime computes on the inputs."""
    runtime = Runtime(model, "net")
    return np.stack([runtime.run(x[None]).reshape(-1) for x in inputs().numpy()])


def test_weights_are_those_of_a_spec_that_names_the_file(tmp_path: Path) -> None:
    module = network()
    save_safetensors(module, tmp_path / "w.safetensors", "the recipe")
    text = SPEC.format(file="w.safetensors", prefix="")
    source = Source(str(tmp_path / "t.spec"), text)
    spec = check(parse(source), {}, base=tmp_path, working_directory=tmp_path)
    imported = Resources().network(spec, "net").imported
    with torch.no_grad():
        expected = module(inputs()).numpy()
    assert np.allclose(replayed(imported.model), expected, atol=1e-5)


def test_weights_are_read_into_another_module(tmp_path: Path) -> None:
    path, other = tmp_path / "w.safetensors", network(1)
    save_safetensors(network(), path, "the recipe")
    load_safetensors(other, path)
    with torch.no_grad():
        assert torch.equal(other(inputs()), network()(inputs()))


def test_a_prefix_stands_before_all_names(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_safetensors(nn.ModuleDict({"inner": network()}), path, "the recipe")
    other = network(1)
    load_safetensors(other, path, "inner.")
    with torch.no_grad():
        assert torch.equal(other(inputs()), network()(inputs()))


def test_tensors_that_are_missing_or_of_another_shape_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_safetensors(nn.Sequential(nn.Linear(4, 3, bias=False)), path, "the recipe")
    biased = nn.Sequential(nn.Linear(4, 3))
    load_safetensors(biased, path)
    bias = biased.state_dict()["0.bias"]
    assert torch.equal(bias, torch.zeros(3))
    with pytest.raises(SpecError, match=r"\[3, 4\], the layer takes \[3, 5\]"):
        load_safetensors(nn.Sequential(nn.Linear(5, 3)), path)
    with pytest.raises(SpecError, match=r"no tensor `1\.weight`"):
        load_safetensors(nn.Sequential(nn.ReLU(), nn.Linear(4, 3)), path)


def test_onnx_files_hold_the_network_and_its_recipe(tmp_path: Path) -> None:
    net = Trainable.of(network(), SHAPE)
    net.module.train()
    path = tmp_path / "folder" / "n.onnx"
    save_onnx(net, path, "the recipe")
    assert net.module.training
    model = onnx.load(path)
    assert {p.key: p.value for p in model.metadata_props}[KEY] == "the recipe"
    again = from_onnx(path)
    with torch.no_grad():
        expected = network()(inputs())
        assert torch.allclose(again(inputs()), expected, atol=1e-5)
    assert np.allclose(replayed(path.read_bytes()), expected.numpy(), atol=1e-5)


def test_the_recipe_is_in_the_header_of_weights(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_safetensors(network(), path, "the recipe")
    assert b'"specdsl.recipe": "the recipe"' in path.read_bytes()
    places = read_tensors(path.read_bytes(), path.name).places
    assert set(places) == {
        f"{layer}.{tensor}" for layer in (0, 1, 4) for tensor in ("weight", "bias")
    } | {"1.running_mean", "1.running_var"}


def test_files_that_cannot_be_written_say_so(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file where a folder would be")
    with pytest.raises(SpecError, match="cannot write"):
        save_safetensors(network(), tmp_path / "taken" / "w.safetensors", "the recipe")


def test_devices_have_names(monkeypatch: pytest.MonkeyPatch, golden: Golden) -> None:
    assert device_named("cpu").type == "cpu"
    for there, auto in ((True, "cuda"), (False, "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
        assert device_named("auto").type == auto
    with pytest.raises(SpecError) as caught:
        device_named("cuda")
    golden.check("codes/E1105.txt", render(caught.value.diagnostics[0]))
