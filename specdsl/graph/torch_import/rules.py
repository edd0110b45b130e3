"""One rule for each ATen op: what it computes, as ops of the graph.

A rule takes an `AtenCall` and returns what the op gives. To support an op, write a rule in the file
of its kind and add it to the table there. Ops without a rule are first decomposed by PyTorch
itself; what then still has none is refused by name. The meaning is that of the op over the real
numbers, with the numbers of the module as its element type holds them: a division by 3 is an exact
third.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from specdsl.graph.torch_import import (
    arithmetic_rules,
    attention_rules,
    elementwise_rules,
    layer_rules,
    layout_rules,
    reduction_rules,
    window_rules,
)
from specdsl.graph.torch_import.arithmetic_rules import Rule

RULES: Mapping[str, Rule] = MappingProxyType(
    {
        **arithmetic_rules.RULES,
        **attention_rules.RULES,
        **elementwise_rules.RULES,
        **layer_rules.RULES,
        **layout_rules.RULES,
        **reduction_rules.RULES,
        **window_rules.RULES,
    }
)
"""Every supported ATen op, by its name without the overload, and its rule."""

START_LATER = "start the network at the embedded vectors: its input is then real numbers"

REFUSED: Mapping[str, str] = MappingProxyType(
    {
        "embedding": START_LATER,
        "embedding_bag": START_LATER,
        "sym_size": "the shape of a value must not depend on the input",
        "sort": "only the largest entry can be told: `amax`, `argmax`, `topk(k=1)`",
        "argsort": "only the largest entry can be told: `amax`, `argmax`, `topk(k=1)`",
        "nonzero": "the shape of a value must not depend on the input",
        "item": "a number of Python must not depend on the input; keep it a tensor",
        "_local_scalar_dense": "a number of Python must not depend on the input; keep it a tensor",
    }
)
"""Ops that no rule is to be expected for, and what to do about each."""
