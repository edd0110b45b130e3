"""A device that is not the host, for machines without one: device mistakes fail on it.

Its tensors say that they lie on `meta`, for which no branch for the CPU is taken. They have values
all the same, kept by the host, which reaches them only by what moves tensors off a device. An
operation that meets a tensor of the host as well fails, as it would (or wait, for an index) on a
GPU.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map

DEVICE = "meta"


class WrongDevice(AssertionError):
    """An operation on tensors of two devices, or one that made a tensor on none in particular."""


class Away(Tensor):
    """A tensor of the other device."""

    held: Tensor

    @staticmethod
    def __new__(cls: type[Away], values: Tensor) -> Away:
        found = Tensor._make_wrapper_subclass(  # pyright: ignore[reportAttributeAccessIssue]
            *(cls, values.shape, values.stride(), values.storage_offset()),
            dtype=values.dtype,
            device=torch.device(DEVICE),
            requires_grad=values.requires_grad,
        )
        found.held = values
        return found

    @classmethod
    def __torch_dispatch__(
        cls,
        func: Any,
        types: Iterable[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        named = dict(kwargs or {})
        _require_away(func, [*args, *named.values()])
        target = named.get("device")
        if target is not None:
            named["device"] = torch.device("cpu")
        found = func(*tree_map(_values, args), **tree_map(_values, named))
        if target is not None and not _is_other(target):
            return found
        return return_and_correct_aliasing(func, args, named, tree_map(_away, found))


def _values(x: object) -> object:
    return x.held if isinstance(x, Away) else x


def _away(x: object) -> object:
    return Away(x) if isinstance(x, Tensor) and not isinstance(x, Away) else x


def _require_away(func: object, given: Sequence[object]) -> None:
    for x in tree_leaves(given):
        # Numbers are passed as tensors of the host without axes, which any device takes.
        if isinstance(x, Tensor) and not isinstance(x, Away) and (x.ndim > 0 or x.is_meta):
            raise WrongDevice(f"{func} of a tensor on {x.device}")


class OtherDevice(TorchDispatchMode):
    """While it lasts, what is made on the device `meta` is `Away`."""

    def __enter__(self) -> OtherDevice:
        super().__enter__()
        self._calls = _Calls()
        self._calls.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._calls.__exit__(*error)
        super().__exit__(*error)

    def __torch_dispatch__(
        self,
        func: Any,
        types: Iterable[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        named = dict(kwargs or {})
        is_away = any(isinstance(x, Away) for x in tree_leaves([*args, *named.values()]))
        if is_away or not _is_other(named.get("device")):
            return func(*args, **named)
        return tree_map(_away, func(*args, **{**named, "device": torch.device("cpu")}))


class _Calls(TorchFunctionMode):
    """What torch does to a tensor before any operation of its own is called."""

    def __torch_function__(
        self,
        func: Any,
        types: Iterable[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        named = dict(kwargs or {})
        if func in (torch.as_tensor, torch.tensor) and not isinstance(args[0], Tensor):
            # Torch copies what numbers say to the device without asking anyone.
            device = named.pop("device", "cpu")
            return func(*args, **named).to(device)
        if func is Tensor.new_tensor and isinstance(args[0], Away):
            return Away(torch.tensor(*args[1:], **{"dtype": args[0].dtype, **named}))
        if func is Tensor.tolist or (func is Tensor.numpy and named.get("force")):
            return func(_values(args[0]), *args[1:], **named)
        return func(*args, **named)


def _is_other(device: object) -> bool:
    return device is not None and torch.device(device).type == DEVICE  # pyright: ignore[reportArgumentType]
