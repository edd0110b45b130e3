"""A script in plain PyTorch trains the very network that `specdsl train` trains."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from specdsl.language.spec import Spec
from specdsl.training.emit.given import given_for
from specdsl.training.emit.script import script
from specdsl.training.plan.resolve import plans_of
from tests.training.emit.standalone_specs import (
    CONV,
    DENSE,
    DIRECTIVES,
    SKIPS,
    drawn,
    module_of,
    script_of,
    spec_of,
)

METHODS = {
    **DIRECTIVES,
    "trades": """init = default
  minimize clean_loss() + 2 * trades_loss(robust, r = r, by = pgd(steps = 3))""",
    "steep": """init = default
  minimize adversarial_loss(robust, r = r, by = fgsm) + adversarial_loss(robust, r = r)""",
}
# Both round differently, by 1e-5 at most where this was tried; a difference of meaning moves
# weights by the rate of each step, 5e-3. TRADES begins where signs of gradients are of rounding.
CLOSE, ROUGH = 1e-3, 2e-2


def weights(spec: Spec, folder: Path, *, plain: bool) -> dict[str, Tensor]:
    """What a training gives, by either kind of script."""
    folder.mkdir()
    if plain:
        module = module_of(script_of(spec, folder), folder)
        return named(module.train(module.parts(), folder / "net"))
    (plan,) = plans_of(spec)
    module = module_of(script(plan, given_for(plan, spec, folder)), folder)
    net = module.train(folder / "net", torch.device("cpu"))
    return named(net.module)


def named(net: nn.Module) -> dict[str, Tensor]:
    """Tensors as layers are called."""
    return {n.removeprefix("layers."): t for n, t in net.state_dict().items()}


def agree(spec: Spec, folder: Path, close: float = CLOSE) -> None:
    """Two epochs of each give the same weights."""
    expected = weights(spec, folder / "runtime", plain=False)
    found = weights(spec, folder / "plain", plain=True)
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.allclose(found[name], tensor, rtol=0, atol=close), name


@pytest.mark.parametrize("name", METHODS)
def test_two_epochs_give_the_same_weights(name: str, tmp_path: Path) -> None:
    agree(spec_of(METHODS[name]), tmp_path, ROUGH if name == "trades" else CLOSE)


@pytest.mark.parametrize("name", ["crown_ibp", "sabr"])
def test_networks_with_skips_train_alike(name: str, tmp_path: Path) -> None:
    layers = """layer dense(12)  layer a = relu  layer dense(12)  skip add(from = a)  layer relu
  layer dense(12)  skip add(from = input, by = dense(12))  layer relu  layer dense(10)"""
    agree(spec_of(METHODS[name], layers=layers), tmp_path)


@pytest.mark.parametrize("layers", [DENSE, SKIPS])
def test_training_goes_on_from_weights_in_a_file(layers: str, tmp_path: Path) -> None:
    shape = "64" if layers == DENSE else "1, 8, 8"
    first = module_of(script_of(spec_of(METHODS["sabr"], layers=layers, shape=shape)), tmp_path)
    net = drawn(first.model(), 0)
    first.save(net, tmp_path / "first.safetensors")
    layers += '  weights = safetensors("first.safetensors")'
    spec = spec_of(METHODS["mtl_ibp"], layers=layers, shape=shape, folder=tmp_path)
    agree(spec, tmp_path)
    assert max(len(line) for line in script_of(spec, tmp_path).splitlines()) <= 100
    start = module_of(script_of(spec, tmp_path), tmp_path)
    begun = start.model()
    start.load(begun, tmp_path / "first.safetensors")
    assert all(
        torch.equal(a, b) for a, b in zip(named(begun).values(), named(net).values(), strict=True)
    )


def test_images_are_moved_alike(tmp_path: Path) -> None:
    lines = METHODS["crown_ibp"]
    agree(spec_of(lines, layers=CONV, shape="1, 8, 8", data="augment = shift(1)"), tmp_path)
