"""How training bounds a property and how it looks for points that violate it: closed tables.

A weight is a number that is a constant or follows a schedule of the block.
"""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

from specdsl.language.schemas import Option, Schema, Table, table

# --- bounds ---------------------------------------------------------------------------------------

_BETA = Option(
    "beta",
    "weight",
    "share of its bounds; those of `ibp` are the rest",
    default=1,
    minimum=0,
    maximum=1,
)

_PROVEN = (
    Schema("ibp", "interval bounds: the cheapest"),
    Schema("crown", "linear bounds through the whole network: the tightest to train with"),
    Schema(
        "crown_ibp",
        "linear bounds of the output over interval bounds inside",
        (_BETA,),
        refused=MappingProxyType({"fused": "bounds a loss, for training: it proves no margin"}),
    ),
    Schema("fast_lin", "linear bounds with parallel lines around each activation"),
    Schema("forward", "linear bounds carried from the input to the output"),
)
_DUAL = Schema("wong_kolter", "bounds of the dual network, layer by layer")

_ALONE = "bounds some points alone, for training: it proves nothing about the others"

SOUND_BOUNDS: Table = replace(
    table("bound method", *_PROVEN, _DUAL),
    refused={name: _ALONE for name in ("small_box", "taps", "staps")},
)
"""Methods whose bounds are proven: what selects the best weights, and regularises."""

# --- attacks --------------------------------------------------------------------------------------

_STEPS = Option("steps", "int", "steps of one start", default=10, minimum=1)
_RESTARTS = Option("restarts", "int", "random starts", default=1, minimum=1)
_SIZE = Option(
    "alpha", "weight", "size of a step; without it a quarter of the radius", positive=True
)
_DROP = Option(
    "decay", "real", "factor on the size of later steps", default=1, positive=True, maximum=1
)
_DROP_AT = Option("decay_at", "counts", "after how many steps it applies: `[4, 7]`")
_NORM = Option(
    "norm",
    "word",
    "which steps of one size there are; without it those of the region",
    choices=("linf", "l2", "l1"),
)

_SINGLE = (
    Schema(
        "fgsm",
        "one step along the sign of the gradient",
        (Option("alpha", "weight", "size of the step; without it the radius", positive=True),),
    ),
    Schema(
        "pgd",
        "projected gradient descent",
        (_STEPS, _RESTARTS, _SIZE, _DROP, _DROP_AT, _NORM),
    ),
    Schema(
        "targeted",
        "projected gradient descent towards each wrong class in turn, the worst of them kept",
        (_STEPS, _RESTARTS, _SIZE, _DROP, _DROP_AT, _NORM),
    ),
    Schema(
        "friendly",
        "projected gradient descent that stops, for each sample, soon after the first wrong answer",
        (
            _STEPS,
            Option("tau", "weight", "steps after the first wrong answer", default=0, minimum=0),
            _SIZE,
        ),
    ),
    Schema(
        "free",
        "each batch is used several times, and each time its perturbation takes a step",
        (
            Option("replays", "int", "how often", default=4, minimum=1),
            Option("alpha", "weight", "size of a step; without it the radius", positive=True),
        ),
    ),
    Schema(
        "noise",
        "points drawn at random: no gradient is used",
        (Option("sigma", "weight", "standard deviation", required=True, minimum=0),),
        positional=1,
    ),
)

SINGLE_ATTACKS: Table = table("attack", *_SINGLE)
"""Attacks that are not made of others."""

ATTACKS: Table = table(
    "attack",
    *_SINGLE,
    Schema(
        "several",
        "more than one attack: `several(A, fgsm, pick = worst)`",
        (
            Option(
                "pick",
                "word",
                "the worst point of each sample, or an attack drawn for each batch",
                default="worst",
                choices=("worst", "draw"),
            ),
        ),
        rest=Option("attacks", "method", "which ones", table=SINGLE_ATTACKS),
    ),
)
"""How points are found. `let A = pgd(...)` gives one a name that stands for it in every line."""

# --- bounds for training alone -------------------------------------------------------------------

_INNER = Option("by", "method", "how the small box is bounded", default="ibp", table=SOUND_BOUNDS)
_SHARE = Option(
    "share",
    "weight",
    "radius of the small box, in parts of the whole radius",
    required=True,
    positive=True,
    maximum=1,
)
_FINDER = Option("attack", "method", "how points are found", default="pgd", table=ATTACKS)
_AFTER = Option(
    "after",
    "layer",
    "the activation after which points are found: its name, or that of its node in a text",
    required=True,
)
_GRADIENT = Option(
    "weight",
    "real",
    "how many times the gradient of the points counts against that of the bounds",
    default=5,
    positive=True,
)

_FUSED = Option(
    "fused",
    "bool",
    "the loss is bounded as a whole, by one row instead of one a margin; for training alone",
    default="false",
)

BOUND_METHODS: Table = table(
    "bound method",
    *(replace(s, options=(_BETA, _FUSED)) if s.name == "crown_ibp" else s for s in _PROVEN),
    replace(
        _DUAL,
        doc="bounds of the dual network; with projections an estimate, for training alone",
        options=(Option("projections", "int", "random vectors; without it exact", minimum=1),),
    ),
    Schema(
        "small_box",
        "bounds over a small box around a point that an attack finds; for training alone",
        (_SHARE, _FINDER, _INNER),
    ),
    Schema(
        "taps",
        "bounds up to a layer, points found between there and the output, whose loss is "
        "multiplied with that of `ibp`; for training alone",
        (_AFTER, _FINDER, _GRADIENT),
    ),
    Schema(
        "staps",
        "`taps` over the box of `small_box`; for training alone",
        (_AFTER, _SHARE, _FINDER, _GRADIENT),
    ),
)
"""How a loss bounds its property. Those `for training alone` prove nothing about all points."""
