"""The rule of the PyTorch import for attention. Vaswani et al. 2017, arXiv:1706.03762."""

from __future__ import annotations

from math import inf

import numpy as np
import numpy.typing as npt
import torch

from specdsl.graph import composites, ops
from specdsl.graph.import_call import Computed
from specdsl.graph.torch_import.arithmetic_rules import Rule
from specdsl.graph.torch_import.call import AtenCall, Parameter, Result

Allowed = npt.NDArray[np.bool_]


def attention(call: AtenCall) -> Result:
    """`softmax(query @ key.T * scale + mask) @ value`."""
    query, key, value = (call.computed(n) for n in ("query", "key", "value"))
    if call.number("dropout_p", 0.0):
        call.refuse("dropout as in training", help="give `dropout_p = 0.0` outside training")
    if call.flag("enable_gqa"):
        call.refuse("grouped queries are not supported")
    given = call.arguments.get("scale")
    default = float(np.float32(query.shape[-1] ** -0.5))
    factor = default if given is None else call.number("scale")
    rank = len(key.shape)
    swapped = (*range(rank - 2), rank - 1, rank - 2)
    turned = call.composed(composites.transpose, key, axes=swapped)
    scores = call.composed(composites.matmul, query, turned)
    scores = call.composed(composites.affine, scores, scale=factor)
    allowed, shift = _mask(call, scores.shape)
    if shift is not None:
        scores = call.composed(composites.affine, scores, shift=shift)
    return call.composed(composites.matmul, _shares(call, scores, allowed), value)


def _mask(call: AtenCall, shape: tuple[int, ...]) -> tuple[Allowed, Parameter | None]:
    """The keys that each query may attend to, in the shape of the scores, and what is added."""
    allowed = np.ones(shape[-2:], dtype=bool)
    if call.flag("is_causal"):
        allowed = np.tril(allowed)
    if call.arguments.get("attn_mask") is None:
        return np.broadcast_to(allowed, shape), None
    mask = call.constant("attn_mask")
    if not mask.is_floating_point():
        return np.broadcast_to(allowed & mask.to(torch.bool).cpu().numpy(), shape), None
    # Minus infinity leaves a key out; other numbers are added to its score.
    kept = mask != -inf
    shift = call.numbers(mask.where(kept, mask.new_zeros(())), "`attn_mask`")
    return np.broadcast_to(allowed & kept.cpu().numpy(), shape), shift if shift.any() else None


def _shares(call: AtenCall, scores: Computed, allowed: Allowed) -> Computed:
    if allowed.all():
        return call.composed(composites.softmax, scores, axis=-1)
    if not allowed.any(axis=-1).all():
        call.refuse("a query may attend to no key")
    return masked_softmax(call, scores, allowed)


def masked_softmax(call: AtenCall, x: Computed, allowed: Allowed) -> Computed:
    """Softmax over the allowed entries of the last axis; the others are 0.

    `1 / (1 + sum over allowed j != i of e^(x_j - x_i))`. Differences with entries that are left out
    are those of an allowed entry with itself, so that nothing grows without bound.
    """
    extent = x.shape[-1]
    call.guard_size((*x.shape, extent))
    rows = composites.positions(x.shape)
    first = np.take_along_axis(rows, allowed.argmax(axis=-1)[..., np.newaxis], axis=-1)
    own = np.where(allowed, rows, first)
    pairs = (*x.shape, extent)
    left = np.broadcast_to(own[..., :, np.newaxis], pairs)
    counts = np.broadcast_to(allowed[..., np.newaxis, :], pairs)
    counts = counts & (rows[..., np.newaxis, :] != left)
    right = np.where(counts, np.broadcast_to(rows[..., np.newaxis, :], pairs), left)
    gaps = call.add(
        ops.Sum((1.0, -1.0)),
        call.add(ops.Select(right), x),
        call.add(ops.Select(np.ascontiguousarray(left)), x),
    )
    terms = call.add(ops.Exp(), gaps)
    counted = call.composed(composites.affine, terms, scale=counts.astype(np.float32))
    total = call.composed(composites.reduce_sum, counted, axes=(-1,), keepdims=False)
    shares = call.add(ops.Reciprocal(), call.composed(composites.affine, total, shift=1.0))
    return call.composed(composites.affine, shares, scale=allowed.astype(np.float32))


RULES: dict[str, Rule] = {"scaled_dot_product_attention": attention}
"""Rules by the name of the ATen op, without its overload."""
