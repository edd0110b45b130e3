"""What may be written in a `train` block and in the `init` of a network: closed tables, as data.

A weight is a number that is a constant or follows a schedule of the block.
"""

from __future__ import annotations

from specdsl.language.schemas import Option, Schema, Table, table

_SEED = Option("seed", "int", "seed of the random numbers", default=0, minimum=0)

SCHEDULES: Table = table(
    "schedule",
    Schema(
        "ramp",
        "from one value to another during some epochs, constant before and after",
        (
            Option("first", "real", "the value before", required=True),
            Option("last", "real", "the value after", required=True),
            Option("epochs", "epochs", "when it changes: `10..80`", required=True),
            Option(
                "shape",
                "word",
                "a straight line, or one that begins and ends gently",
                default="linear",
                choices=("linear", "smooth"),
            ),
        ),
        positional=2,
    ),
    Schema(
        "steps",
        "one value, and others for later epochs: `steps(5e-4, 1e-4 for e in 130..200)`",
        (Option("first", "real", "the value of all other epochs", required=True),),
        positional=1,
        stages=True,
    ),
)
"""What a `let` in a `train` block may be, and a learning rate."""

BOUND_METHODS: Table = table(
    "bound method",
    Schema("ibp", "interval bounds: the cheapest"),
    Schema("crown", "linear bounds through the whole network: the tightest"),
    Schema(
        "crown_ibp",
        "linear bounds of the output over interval bounds inside",
        (Option("beta", "weight", "share of its bounds; those of `ibp` are the rest", default=1),),
    ),
)

ATTACKS: Table = table(
    "attack",
    Schema("fgsm", "one step of the largest size along the sign of the gradient"),
    Schema(
        "pgd",
        "projected gradient descent",
        (
            Option("steps", "int", "steps of one start", default=10, minimum=1),
            Option("restarts", "int", "random starts", default=1, minimum=1),
            Option("alpha", "weight", "size of a step; without it a quarter of the radius"),
        ),
    ),
)

_PROPERTY = Option("property", "property", "a property of this spec", required=True)
_BOUNDS = Option("by", "method", "how it is bounded", default="ibp", table=BOUND_METHODS)
_ATTACK = Option("by", "method", "how points are found", default="pgd", table=ATTACKS)

LOSSES: Table = table(
    "loss",
    Schema("clean_loss", "cross-entropy of the labels, or squared error of number targets"),
    Schema(
        "certified_loss",
        "how far proven bounds are from showing the property; 0 where they show it",
        (_PROPERTY, _BOUNDS),
        positional=1,
    ),
    Schema(
        "adversarial_loss",
        "how far the property is violated at points that an attack finds",
        (_PROPERTY, _ATTACK),
        positional=1,
    ),
)
"""What `minimize` in a `train` block weighs and adds up."""

_WEIGHTS = Option("of", "word", "what is kept small", required=True, choices=("weights",))

REGULARIZERS: Table = table(
    "regulariser",
    Schema(
        "tightness",
        "how much looser one method's bounds are than another's",
        (
            Option("by", "method", "the looser one", default="ibp", table=BOUND_METHODS),
            Option("against", "method", "the tighter one", default="crown", table=BOUND_METHODS),
        ),
    ),
    Schema(
        "relu_stability",
        "how many activations change their side within a radius",
        (Option("r", "weight", "the radius, in linf", required=True),),
        positional=1,
    ),
    Schema("l1", "sum of absolute values", (_WEIGHTS,), positional=1),
    Schema("l2", "sum of squares", (_WEIGHTS,), positional=1),
)

MEASURES: Table = table(
    "measure",
    Schema(
        "violation",
        "how far the property is violated, on average over the samples",
        (_PROPERTY, _ATTACK),
        positional=1,
    ),
    *LOSSES.schemas.values(),
)
"""What `constrain` bounds."""

MULTIPLIERS: Table = table(
    "method of constraints",
    Schema(
        "lagrangian",
        "a multiplier that grows while the constraint is violated",
        (
            Option("lr", "weight", "how fast it grows", default="1/100"),
            Option("init", "real", "its first value", default=0, minimum=0),
        ),
    ),
)

_RATE = Option(
    "lr", "rate", "the learning rate: a number or a schedule", required=True, table=SCHEDULES
)
_DECAY = Option("decay", "real", "weight decay", default=0, minimum=0)

OPTIMIZERS: Table = table(
    "optimizer",
    Schema("adam", "Adam", (_RATE, _DECAY), positional=1),
    Schema(
        "sgd",
        "stochastic gradient descent",
        (_RATE, Option("momentum", "real", "of earlier steps", default=0, minimum=0), _DECAY),
        positional=1,
    ),
)

WRITERS: Table = table(
    "format to save",
    Schema(
        "onnx",
        "the trained network, with a hash of how it was trained",
        (Option("file", "string", "where to write, beside the spec", required=True),),
        positional=1,
    ),
)

TRAIN_SETTINGS = Schema(
    "training",
    "how the network is trained",
    (
        Option("epochs", "int", "passes over the data", required=True, minimum=1),
        Option("batch", "int", "samples of one step", default=128, minimum=1),
        _SEED,
        Option("device", "word", "where", default="auto", choices=("auto", "cpu", "cuda")),
        Option("optimizer", "method", "how steps are made", required=True, table=OPTIMIZERS),
        Option("clip", "real", "largest norm of a gradient", minimum=0),
        Option("budget", "real", "seconds after which training stops", minimum=0, unit="s"),
    ),
    block=True,
)
