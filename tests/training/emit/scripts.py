"""Scripts of small trainings on digits: emitted, loaded as modules, run in this process."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor

from specdsl.language.checking.check import check
from specdsl.language.parsing.parser import parse
from specdsl.language.spec import Spec
from specdsl.source import Source
from specdsl.training.emit.given import given_for
from specdsl.training.emit.script import script
from specdsl.training.plan.resolve import plans_of

ROOT = Path(__file__).parents[3]
NETWORK = """network net: Image -> real[10] {
  layer dense(12)
  layer a1 = relu
  layer dense(10)
  init = ibp(seed = 1)
}
"""
HEAD = """spec 1.0
param eps: real = 1/20
space Image { pixels: real[64] in [0, 1] }
"""
REST = """dataset digits: (Image, label[10]) = sklearn("digits") { scale = 1/16 }
region near(x, r) = norm_ball(x, r, linf) & Image
property robust(x, y, r) = forall z in near(x, r): argmax(net(z)) == y
property either(x, y, r) = forall z in near(x, r): argmax(net(z)) == y or net(z)[0] >= 0
property round(x, y, r) = forall z in norm_ball(x, r, l2) & Image: argmax(net(z)) == y
"""
START = "epochs = 2 batch = 64 seed = 3 threads = 1 device = cpu optimizer = adam(lr = 5e-3) "


def spec_of(
    body: str,
    folder: Path,
    network: str = NETWORK,
    head: str = HEAD,
    *,
    rest: str = REST,
    taken: bool = False,
) -> Spec:
    """`taken`: the dataset and a property have names that scripts have too."""
    text = f"{head}{network}{rest}train net on digits[0:192] {{ {body} }}\n"
    if taken:
        text = text.replace("digits", "samples").replace('sklearn("samples")', 'sklearn("digits")')
        text = text.replace("property robust", "property interval")
    source = Source(str(folder / "t.spec"), text)
    return check(parse(source), {}, base=folder, working_directory=folder)


def emitted(
    body: str,
    folder: Path,
    network: str = NETWORK,
    head: str = HEAD,
    *,
    rest: str = REST,
    taken: bool = False,
) -> str:
    """The script of a training, which lies in `folder`."""
    spec = spec_of(body, folder, network, head, rest=rest, taken=taken)
    (plan,) = plans_of(spec)
    return script(plan, given_for(plan, spec, folder))


def of_text(text: str, folder: Path) -> str:
    """The script of the only training of a spec."""
    spec = check(
        parse(Source(str(folder / "t.spec"), text)), {}, base=folder, working_directory=folder
    )
    (plan,) = plans_of(spec)
    return script(plan, given_for(plan, spec, folder))


def loaded(text: str, folder: Path, name: str = "emitted") -> ModuleType:
    """A script as a module; it looks for files beside itself."""
    path = folder / f"{name}.py"
    path.write_text(text, encoding="utf-8")
    found = spec_from_file_location(name, path)
    assert found is not None
    assert found.loader is not None
    module = module_from_spec(found)
    # Annotations of named tuples are looked up by the name of the module.
    sys.modules[name] = module
    try:
        found.loader.exec_module(module)
    finally:
        del sys.modules[name]
    return module


def trained(text: str, folder: Path, name: str = "emitted") -> dict[str, Tensor]:
    """The weights that a script ends with, run in this process."""
    module = loaded(text, folder, name)
    net = module.train(folder / f"{name}.onnx", torch.device("cpu"))
    return {key: value.detach().clone() for key, value in net.module.state_dict().items()}


def started(path: Path, *arguments: str) -> subprocess.Popen[str]:
    """A script that runs as `specdsl train` runs it."""
    command = [sys.executable, str(path), *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )


def run(path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The same, to its end."""
    process = started(path, *arguments)
    out, errors = process.communicate(timeout=300)
    return subprocess.CompletedProcess(process.args, process.returncode, out, errors)


@cache
def ruff() -> str:
    """Where the formatter lies, beside the interpreter."""
    return str(Path(sys.executable).with_name("ruff"))
