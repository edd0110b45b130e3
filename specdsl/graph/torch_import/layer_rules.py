"""Rules of the PyTorch import for layers: products with weights, convolutions, normalisations."""

from __future__ import annotations

import numpy as np
import torch

from specdsl.graph import composites, ops
from specdsl.graph.import_call import Computed
from specdsl.graph.torch_import.arithmetic_rules import Rule, times
from specdsl.graph.torch_import.call import AtenCall, Parameter, Result, Value

# --- products ------------------------------------------------------------------------------------


def linear(call: AtenCall) -> Result:
    """`input @ weight.T + bias`."""
    x, weight = call.computed("input"), call.operand("weight")
    if isinstance(weight, Computed) or isinstance(call.arguments.get("bias"), Computed):
        matrix = call.computed("weight")
        axes = tuple(reversed(range(len(matrix.shape))))
        turned = call.composed(composites.transpose, matrix, axes=axes)
        product = call.composed(composites.matmul, x, turned)
        if call.arguments.get("bias") is None:
            return product
        return call.composed(composites.add, product, call.computed("bias"))
    rows = call.numbers(weight, "`weight`")
    product = _dense(call, x, rows.reshape(-1, rows.shape[-1]), call.optional_weight("bias"))
    return call.reshape(product, call.shape)


def _dense(call: AtenCall, x: Computed, rows: Parameter, bias: Parameter | None = None) -> Computed:
    offset = np.zeros(rows.shape[0], dtype=np.float32) if bias is None else bias.reshape(-1)
    return call.add(ops.Dense(rows, offset), x)


def matmul(call: AtenCall) -> Result:
    """A matrix product of vectors, matrices or batches of matrices."""
    name = next(n for n in ("other", "mat2", "vec", "tensor") if n in call.arguments)
    return product(call, call.operand("self"), call.operand(name))


def product(call: AtenCall, left: Value, right: Value) -> Computed:
    """`left @ right`; with a constant matrix it is a dense layer."""
    if isinstance(left, torch.Tensor) and isinstance(right, torch.Tensor):
        return call.constant_node(torch.matmul(left, right))
    if isinstance(left, Computed) and isinstance(right, torch.Tensor):
        weight = _matrix(right)
        if weight.ndim <= 2:
            return _times_right(call, left, call.numbers(weight, "a matrix"))
        return _batched(call, left, right, swapped=False)
    if isinstance(right, Computed) and isinstance(left, torch.Tensor):
        weight = _matrix(left)
        if weight.ndim <= 2:
            return _times_left(call, call.numbers(weight, "a matrix"), right)
        return _batched(call, right, left, swapped=True)
    assert isinstance(left, Computed)
    assert isinstance(right, Computed)
    return call.composed(composites.matmul, left, right)


def _matrix(weight: torch.Tensor) -> torch.Tensor:
    """The weight with leading axes of extent 1 dropped."""
    while weight.ndim > 2 and weight.shape[0] == 1:
        weight = weight[0]
    return weight


def _times_right(call: AtenCall, x: Computed, weight: Parameter) -> Computed:
    if weight.ndim == 1:
        found = _dense(call, x, weight[np.newaxis])
        return call.reshape(found, found.shape[:-1])
    return _dense(call, x, weight.T)


def _times_left(call: AtenCall, weight: Parameter, x: Computed) -> Computed:
    """A dense layer over the last axis but one."""
    rows = weight if weight.ndim == 2 else weight[np.newaxis]
    rank = len(x.shape)
    if rank < 2:
        found = _dense(call, x, rows)
    else:
        axes = (*range(rank - 2), rank - 1, rank - 2)
        turned = call.composed(composites.transpose, x, axes=axes)
        found = call.composed(composites.transpose, _dense(call, turned, rows), axes=axes)
    if weight.ndim == 2:
        return found
    gone = len(found.shape) - min(rank, 2)
    return call.reshape(found, (*found.shape[:gone], *found.shape[gone + 1 :]))


def _batched(call: AtenCall, x: Computed, constant: torch.Tensor, *, swapped: bool) -> Computed:
    """With another constant matrix for each of a batch: entries spread, weighted and summed."""
    weight = call.numbers(constant, "a matrix")
    if swapped:  # weight @ x = (x.T @ weight.T).T
        vector = len(x.shape) == 1
        rank = len(x.shape)
        axes = (*range(rank - 2), rank - 1, rank - 2)
        turned = x if vector else call.composed(composites.transpose, x, axes=axes)
        found = _spread(call, turned, np.swapaxes(weight, -1, -2))
        if vector:
            return found
        rank = len(found.shape)
        back = (*range(rank - 2), rank - 1, rank - 2)
        return call.composed(composites.transpose, found, axes=back)
    return _spread(call, x, weight)


def _spread(call: AtenCall, x: Computed, weight: Parameter) -> Computed:
    """`x @ weight` with x (..., n, k) or (k,) and weight (..., k, m)."""
    places = composites.positions(x.shape)
    rows = places if places.ndim > 1 else places[np.newaxis]
    batch = np.broadcast_shapes(rows.shape[:-2], weight.shape[:-2])
    full = (*batch, rows.shape[-2], weight.shape[-1], rows.shape[-1])
    call.guard_size(full)
    spread = np.broadcast_to(rows[..., :, np.newaxis, :], full).copy()
    factors = np.swapaxes(weight, -1, -2)[..., np.newaxis, :, :]
    terms = call.composed(composites.affine, call.add(ops.Select(spread), x), scale=factors)
    total = call.composed(composites.reduce_sum, terms, axes=(-1,), keepdims=False)
    kept = full[:-1] if places.ndim > 1 else (*batch, weight.shape[-1])
    return call.reshape(total, kept)


def add_product(call: AtenCall) -> Result:
    """`beta * self + alpha * first @ second`."""
    names = ("mat1", "mat2") if "mat1" in call.arguments else ("batch1", "batch2")
    left, right = call.operand(names[0]), call.operand(names[1])
    offset = call.operand("self")
    alpha, beta = call.number("alpha", 1.0), call.number("beta", 1.0)
    if isinstance(left, Computed) and isinstance(right, torch.Tensor) and right.ndim == 2:
        constant = isinstance(offset, torch.Tensor) and offset.ndim < 2
        if constant and alpha == 1.0:
            bias = times(call.weight("self"), beta)
            rows = call.numbers(right, "a matrix").T
            return _dense(call, left, rows, np.broadcast_to(bias, rows.shape[:1]))
    scaled = call.composed(composites.affine, product(call, left, right), scale=alpha)
    if isinstance(offset, torch.Tensor):
        shift = times(call.numbers(offset, "`self`"), beta)
        return call.composed(composites.affine, scaled, shift=shift)
    added = call.composed(composites.affine, offset, scale=beta)
    return call.composed(composites.add, scaled, added)


# --- convolutions --------------------------------------------------------------------------------


def convolution(call: AtenCall) -> Result:
    """With constant weights; a value without a batch axis gets one."""
    weight = call.weight("weight")
    rank = weight.ndim - 2
    x = call.computed("input")
    batched = len(x.shape) == rank + 2
    x = x if batched else call.reshape(x, (1, *x.shape))
    strides, dilations = call.integers("stride", rank), call.integers("dilation", rank)
    pads = _pads(call, weight.shape[2:], dilations)
    transposed = "output_padding" in call.arguments and call.arguments.get("transposed", True)
    if transposed:
        found = _transposed(call, x, weight, strides, pads, dilations)
    else:
        bias = call.optional_weight("bias")
        offset = np.zeros(weight.shape[0], dtype=np.float32) if bias is None else bias
        op = ops.Conv(weight, offset, strides, pads, dilations, call.integer("groups"))
        found = call.add(op, x)
    return call.reshape(found, call.shape)


def _pads(
    call: AtenCall, kernel: tuple[int, ...], dilations: tuple[int, ...]
) -> tuple[tuple[int, int], ...]:
    mode = call.arguments["padding"]
    if mode == "valid":
        return ((0, 0),) * len(kernel)
    if mode == "same":
        totals = [d * (k - 1) for k, d in zip(kernel, dilations, strict=True)]
        return tuple((t // 2, t - t // 2) for t in totals)
    return tuple((p, p) for p in call.integers("padding", len(kernel)))


def _transposed(
    call: AtenCall,
    x: Computed,
    weight: Parameter,
    strides: tuple[int, ...],
    pads: tuple[tuple[int, int], ...],
    dilations: tuple[int, ...],
) -> Computed:
    groups = call.integer("groups")
    bias = call.optional_weight("bias")
    channels = weight.shape[1] * groups
    offset = np.zeros(channels, dtype=np.float32) if bias is None else bias
    extra = call.integers("output_padding", len(strides))
    op = ops.ConvTranspose(weight, offset, strides, pads, dilations, extra, groups)
    return call.add(op, x)


# --- normalisations ------------------------------------------------------------------------------


def batch_norm(call: AtenCall) -> Result:
    """With the statistics of training."""
    mean, variance = call.arguments.get("running_mean"), call.arguments.get("running_var")
    if mean is None or variance is None or call.flag("training") or call.flag("use_input_stats"):
        call.refuse(
            "it normalises by the batch it is given, so that the network is no function of one "
            "input",
            help="keep running statistics (`track_running_stats=True`) and call `net.eval()`",
        )
    found = _normalised(call)
    return found if call.op.endswith("batch_norm") else (found, None, None)


def _normalised(call: AtenCall) -> Computed:
    mean, variance = call.weight("running_mean"), call.weight("running_var")
    gamma, beta = call.optional_weight("weight"), call.optional_weight("bias")
    gamma = np.ones(mean.shape, dtype=np.float32) if gamma is None else gamma
    beta = np.zeros(mean.shape, dtype=np.float32) if beta is None else beta
    epsilon = call.number("eps")
    if (variance.astype(np.float64) + epsilon <= 0).any():
        call.refuse("the variance plus epsilon is not positive")
    return call.add(ops.BatchNorm(gamma, beta, mean, variance, epsilon), call.computed("input"))


def layer_norm(call: AtenCall) -> Result:
    """Over the last axes."""
    x = call.computed("input")
    axis = len(x.shape) - len(call.integers("normalized_shape"))
    scale, bias = call.optional_weight("weight"), call.optional_weight("bias")
    return call.composed(
        composites.layer_norm, x, axis=axis, epsilon=call.number("eps"), scale=scale, bias=bias
    )


def group_norm(call: AtenCall) -> Result:
    """Over groups of channels."""
    return call.composed(
        composites.group_norm,
        call.computed("input"),
        groups=call.integer("num_groups"),
        epsilon=call.number("eps"),
        scale=call.optional_weight("weight"),
        bias=call.optional_weight("bias"),
    )


def instance_norm(call: AtenCall) -> Result:
    """Over the places of each channel; with running statistics it is a batch normalisation."""
    if not call.flag("use_input_stats"):
        return _normalised(call)
    return call.composed(
        composites.instance_norm,
        call.computed("input"),
        epsilon=call.number("eps"),
        scale=call.optional_weight("weight"),
        bias=call.optional_weight("bias"),
    )


RULES: dict[str, Rule] = {
    "_native_batch_norm_legit": batch_norm,
    "_native_batch_norm_legit_no_training": batch_norm,
    "addmm": add_product,
    "baddbmm": add_product,
    "batch_norm": batch_norm,
    "bmm": matmul,
    "conv1d": convolution,
    "conv2d": convolution,
    "conv3d": convolution,
    "conv_transpose1d": convolution,
    "conv_transpose2d": convolution,
    "conv_transpose3d": convolution,
    "convolution": convolution,
    "dot": matmul,
    "group_norm": group_norm,
    "instance_norm": instance_norm,
    "layer_norm": layer_norm,
    "linear": linear,
    "matmul": matmul,
    "mm": matmul,
    "mv": matmul,
}
"""Rules by the name of the ATen op, without its overload."""
