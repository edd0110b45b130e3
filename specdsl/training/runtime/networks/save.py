"""A trained network on disk: as ONNX, checked against the module, or its weights alone."""

from __future__ import annotations

import json
import struct
from copy import deepcopy
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from specdsl.diagnostics import SpecError
from specdsl.files import read_bytes
from specdsl.graph.safetensors import FloatArray, read_tensors
from specdsl.graph.torch_import.load import load_module
from specdsl.language.compositions import prefix_in_file
from specdsl.training.plan.recipe import KEY
from specdsl.training.runtime.networks.network import Trainable
from specdsl.training.runtime.networks.together import Together

# What parts of a network with skips stand in; layers are called without it.
CONTAINER = "layers."


def save_onnx(net: Trainable, path: Path, recipe: str) -> None:
    """Write the network as ONNX, with the hash of its training among the model's properties.

    The graph that is exported has been compared with the module at random points. Raises SpecError
    as `load_module`, and E0854 where the file cannot be written.
    """
    still = deepcopy(net.module).cpu().eval()
    imported = load_module(still, [(1, *net.shape)], net.name)
    _write(path, _with_recipe(imported.model, recipe))


def save_safetensors(module: nn.Module, path: Path, recipe: str) -> None:
    """Write all tensors in the safetensors format, as layers of a spec are called.

    A layer is called by its name or its number; of several networks that are trained together, the
    name of the network stands before it. Raises SpecError E0854 where the file cannot be written.
    """
    header: dict[str, object] = {"__metadata__": {KEY: recipe}}
    content: list[bytes] = []
    end = 0
    for name, tensor in _tensors(module).items():
        if not tensor.is_floating_point():
            # The number of batches that a batch normalisation has seen.
            continue
        array = tensor.detach().cpu().to(torch.float32).contiguous().numpy()
        content.append(np.ascontiguousarray(array, dtype="<f4").tobytes())
        start, end = end, end + array.nbytes
        header[name] = {
            "dtype": "F32",
            "shape": list(array.shape),
            "data_offsets": [start, end],
        }
    text = json.dumps(header).encode()
    _write(path, struct.pack("<Q", len(text)) + text + b"".join(content))


def load_safetensors(module: nn.Module, path: Path, prefix: str = "") -> None:
    """Put the tensors of a file in their places, called as `save_safetensors` calls them.

    `prefix` stands before all names in the file. A bias that is not there is 0. Raises SpecError
    E0622 for another tensor that is missing, E0621 for one of another shape, E05xx as
    `read_tensors`.
    """
    file = read_tensors(read_bytes(path), path.name)
    with torch.no_grad():
        for name, tensor in _tensors(module).items():
            if not tensor.is_floating_point():
                continue
            wanted = f"{prefix}{name}"
            if wanted in file.places:
                tensor.copy_(_fitting(file.tensor(wanted), tensor, wanted))
            elif name.endswith(".bias"):
                tensor.zero_()
            else:
                raise SpecError.of("E0622", f"`{path}` has no tensor `{wanted}`")


def _tensors(module: nn.Module) -> dict[str, Tensor]:
    """All tensors, by what they are called in files."""
    if not isinstance(module, Together):
        return {n.removeprefix(CONTAINER): t for n, t in module.state_dict().items()}
    return {
        f"{prefix_in_file(module.names, network)}{name}": tensor
        for network in module.names
        for name, tensor in _tensors(module[network]).items()
    }


def _fitting(found: FloatArray, tensor: Tensor, name: str) -> Tensor:
    if found.shape != tensor.shape:
        text = f"the tensor `{name}` is {list(found.shape)}, the layer takes {list(tensor.shape)}"
        raise SpecError.of("E0621", text)
    return torch.from_numpy(np.ascontiguousarray(found))


def device_named(name: str) -> torch.device:
    """`cpu`, `cuda`, or `auto`: a GPU where there is one.

    Raises SpecError E1105 where a GPU is asked for and there is none.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cuda" and not torch.cuda.is_available():
        text = "training on `cuda` is asked for, but PyTorch sees no GPU here"
        raise SpecError.of("E1105", text, help="`device = auto` takes one where there is one")
    return torch.device(name)


def _with_recipe(content: bytes, recipe: str) -> bytes:
    model = onnx.load_from_string(content)
    onnx.helper.set_model_props(model, {KEY: recipe})
    return model.SerializeToString()


def _write(path: Path, content: bytes) -> None:
    """A file that is whole or is not there."""
    beside = path.with_name(f"{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_bytes(content)
        beside.replace(path)
    except OSError as error:
        text = f"cannot write `{path}`: {error.strerror}"
        raise SpecError.of("E0854", text) from error
