"""Specs with trainings of small networks, and their scripts in plain PyTorch as modules."""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor, nn

from specdsl.language.checking.check import check
from specdsl.language.parsing.parser import parse
from specdsl.language.spec import Spec
from specdsl.source import Source
from specdsl.training.emit.given import given_for
from specdsl.training.emit.standalone import standalone
from specdsl.training.plan.resolve import plans_of

DENSE = "layer dense(32)  layer relu  layer dense(10)"
# The first kernel does not reach the last row and column of 8, nor the second the last row of 3.
CONV = """layer conv(4, kernel = 3, stride = 2)  layer relu
  layer conv(5, kernel = [2, 3], stride = [2, 1], padding = [0, 1])  layer relu
  layer flatten  layer dense(16)  layer relu  layer dense(10)"""

SKIPS = """layer conv(3, kernel = 3, padding = 1, stride = 2)  layer a = relu
  layer conv(3, kernel = 3, padding = 1)  skip add(from = a, by = conv(3, kernel = 1))
  layer relu  layer conv(3, kernel = 3, padding = 1)  skip add(from = a)  layer relu
  layer flatten  layer dense(10)"""

HEAD = """spec 1.0
param eps: real = 0.05
space Image {{ pixels: real[{shape}] in [0, 1] }}
network net: Image -> real[10] {{
  {layers}
}}
dataset digits: (Image, label[10]) = sklearn("digits") {{ scale = 1/16 {data} }}
region ball(x, r) = norm_ball(x, r, linf) & box(0, 1)
property robust(x, y, r) = forall z in ball(x, r): argmax(net(z)) == y
property low(x, y, r) = forall z in ball(x, r): all(net(z) <= 9) and net(z)[0] >= -5 - r
property {name}(x, r) = forall z in ball(x, r): all(net(z) <= 9)
property fixed() = forall z in Image: net(z)[0] <= 9
train net on digits[0:1000] {{
  epochs = {epochs}
  batch = 128
  seed = 0
  threads = 1
  device = cpu
  optimizer = adam(lr = 5e-3)
  let r = ramp(0, eps, epochs = 0..1)
  {lines}
}}
"""

WARM = "let kappa = ramp(1, 1/2, epochs = 0..2, shape = smooth)"
DIRECTIVES = {
    "interval": f"""{WARM}
  init = ibp
  minimize kappa * clean_loss() + (1 - kappa) * certified_loss(robust, r = r, by = ibp)
  regularize 1e-6 * l1(weights)""",
    "crown_ibp": f"""{WARM}
  let beta = ramp(1, 0, epochs = 0..1, shape = smooth, middle = 1/2, exponent = 3)
  clip = 10
  minimize kappa * clean_loss()
    + (1 - kappa) * certified_loss(robust, r = r, by = crown_ibp(beta = beta))""",
    "mtl_ibp": """let A = pgd(steps = 3, restarts = 2, alpha = r / 4, decay = 0.1,
    decay_at = [1, 2])
  minimize 0.1 * certified_loss(robust, r = r, by = ibp)
    + 0.9 * adversarial_loss(robust, r = r, by = A)
  regularize 1e-4 * l2(weights)""",
    "sabr": """minimize certified_loss(robust, r = r,
    by = small_box(share = 0.4, attack = pgd(steps = 3), by = ibp))""",
    "shi": f"""{WARM}
  init = ibp
  minimize certified_loss(robust, r = r, by = ibp)
  regularize kappa / 2 * shi(robust, r = r, relu = 1/2)
  regularize 1e-4 * relu_stability(r = r)""",
    "mixtures": """minimize convex(0.3, certified_loss(robust, r = r, by = crown_ibp(beta = 1/2)),
    adversarial_loss(robust, r = r, by = fgsm))
  minimize 1/2 * geometric(1/4, certified_loss(robust, r = r),
    adversarial_loss(robust, r = r, by = fgsm(alpha = r / 2)))
  minimize 1/4 * product(clean_loss(), certified_loss(low, r = r, by = crown_ibp))""",
    "stages": """optimizer = sgd(lr = steps(1e-1, 5e-2 for e in 1..1), momentum = 0.9, decay = 1e-4)
  stage warm { epochs = 1  minimize clean_loss() }
  stage certify { epochs = 1  minimize certified_loss(robust, r = r, by = ibp) }""",
    "best": """budget = 600 `s`
  patience = 5
  minimize certified_loss(robust, r = r, by = ibp) + clean_loss()
  keep best by certified(robust, r = eps, by = ibp) on digits[1000:1200]
    where clean_accuracy >= 0.5
  save safetensors("best.safetensors")""",
}
"""Lines of a block, by what they try."""


def spec_of(
    lines: str,
    *,
    layers: str = DENSE,
    shape: str = "64",
    data: str = "",
    epochs: int = 2,
    name: str = "modest",
    folder: Path = Path(),
) -> Spec:
    """A training on digits."""
    optimizers = "  optimizer = adam(lr = 5e-3)\n"
    head = HEAD.replace(optimizers, "") if "optimizer" in lines else HEAD
    if "stage " in lines:
        head = head.replace("  epochs = {epochs}\n", "")
    text = head.format(layers=layers, shape=shape, data=data, epochs=epochs, lines=lines, name=name)
    source = Source("digits.spec", text)
    return check(parse(source), {}, base=folder, working_directory=folder)


def script_of(spec: Spec, folder: Path = Path()) -> str:
    """The script of the only training."""
    (plan,) = plans_of(spec)
    return standalone(plan, given_for(plan, spec, folder))


@cache
def directive(name: str) -> str:
    """The script of one of the directives, for images where they are needed."""
    return script_of(spec_of(DIRECTIVES[name]))


def module_of(text: str, folder: Path) -> ModuleType:
    """A script, imported."""
    file = folder / "script.py"
    file.write_text(text)
    found = importlib.util.spec_from_file_location("script", file)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def drawn(net: nn.Module, seed: int) -> nn.Module:
    """The network with weights and biases of about the same size."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in net.parameters():
            fan = p[0].numel() if p.ndim > 1 else 4
            p.copy_(torch.randn(p.shape, generator=generator) / fan**0.5)
    return net.eval()


def samples(shape: tuple[int, ...], seed: int, count: int = 4) -> tuple[Tensor, Tensor]:
    """Inputs between 0 and 1, and labels."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(count, *shape, generator=generator, dtype=torch.float64)
    return x, torch.randint(10, (count,), generator=generator)
