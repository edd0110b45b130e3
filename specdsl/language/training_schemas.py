"""What may be written in a `train` block and in the `init` of a network: closed tables, as data.

A weight is a number that is a constant or follows a schedule of the block.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from specdsl.language.preset_schemas import PRESETS
from specdsl.language.schemas import BACKENDS, Option, Schema, Table, table
from specdsl.language.training_methods import ATTACKS, BOUND_METHODS, SOUND_BOUNDS

HALF = Fraction(1, 2)
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
                "a straight line, or one that begins like a power",
                default="linear",
                choices=("linear", "smooth"),
            ),
            Option(
                "middle",
                "real",
                "of `smooth`: the share of the time at which it becomes straight",
                default="1/4",
                positive=True,
                maximum=1,
            ),
            Option("exponent", "real", "of `smooth`: the power", default=4, minimum=1),
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

_MEAN = Option("mean", "composition", "what gives its mean", required=True)
_LOG_DEVIATION = Option(
    "log_deviation",
    "composition",
    "what gives the logarithm of its standard deviation",
    required=True,
)

CODES: Table = table(
    "code",
    Schema(
        "normal",
        "`mean + exp(log_deviation) * noise`, with normal noise drawn anew for each sample",
        (_MEAN, _LOG_DEVIATION),
        positional=2,
    ),
)
"""What a `let` in a `train` block may be, to stand between networks: `encoder >> code >> decoder`.

Source: Kingma and Welling 2013, arXiv:1312.6114, section 2.4.
"""

LETS: Table = table(
    "schedule, attack or code",
    *SCHEDULES.schemas.values(),
    *ATTACKS.schemas.values(),
    *CODES.schemas.values(),
)
"""What a `let` in a `train` block may be, beside arithmetic with earlier schedules."""

# --- what is minimised ----------------------------------------------------------------------------

_PROPERTY = Option("property", "property", "a property of this spec", required=True)
_OF = Option("property", "property", "a property; without it that of the first certified loss")
_BOUNDS = Option("by", "method", "how it is bounded", default="ibp", table=BOUND_METHODS)
_PROVEN = Option("by", "method", "how it is bounded", default="ibp", table=SOUND_BOUNDS)
_ATTACK = Option("by", "method", "how points are found", default="pgd", table=ATTACKS)

_CERTIFIED = Schema(
    "certified_loss",
    "how far proven bounds are from showing the property; 0 where they show it",
    (
        _PROPERTY,
        _BOUNDS,
        Option("samples", "int", "samples of a batch it is computed of; without it all", minimum=1),
    ),
    positional=1,
)
_ADVERSARIAL = Schema(
    "adversarial_loss",
    "how far the property is violated at points that an attack finds",
    (_PROPERTY, _ATTACK),
    positional=1,
)

MARGIN_LOSSES: Table = table("loss of a property", _CERTIFIED, _ADVERSARIAL)
"""Losses that are a function of the margins of a property."""

SINGLE_LOSSES: Table = table(
    "loss",
    Schema(
        "clean_loss",
        "cross-entropy of the labels, or squared error of number targets",
        (Option("of", "composition", "other networks; without it what is trained"),),
        positional=1,
    ),
    _CERTIFIED,
    _ADVERSARIAL,
    Schema(
        "trades_loss",
        "how much the scores change between a sample and the point where they change most",
        (_PROPERTY, _ATTACK),
        positional=1,
    ),
    Schema(
        "distillation_loss",
        "how far the scores are from those of another network",
        (
            Option("teacher", "network", "the other network", required=True),
            Option(
                "temperature", "real", "both scores are divided by it", default=1, positive=True
            ),
        ),
    ),
    Schema(
        "reconstruction_loss",
        "mean squared error between inputs and what networks make of them",
        (Option("of", "composition", "from inputs to inputs", required=True),),
        positional=1,
    ),
    Schema(
        "kl_loss",
        "divergence of a code from the standard normal distribution, summed over its entries",
        (Option("of", "composition", "a code, or networks that end in one", required=True),),
        positional=1,
    ),
    Schema(
        "noisy_loss",
        "`clean_loss` of samples with normal noise",
        (Option("sigma", "weight", "standard deviation", required=True, minimum=0),),
        positional=1,
    ),
)
"""Losses that are not made of others."""

_ALPHA = Option("alpha", "weight", "share of the first one", required=True, minimum=0, maximum=1)

LOSSES: Table = table(
    "loss",
    *SINGLE_LOSSES.schemas.values(),
    Schema(
        "convex",
        "the loss of `alpha` times the margins of one loss and the rest of the other's",
        (
            _ALPHA,
            Option("first", "loss", "a loss of a property", required=True, table=MARGIN_LOSSES),
            Option("second", "loss", "another of it", required=True, table=MARGIN_LOSSES),
        ),
        positional=3,
    ),
    Schema(
        "geometric",
        "one loss to the power `alpha` times the other to the rest",
        (
            _ALPHA,
            Option("first", "loss", "a loss", required=True, table=SINGLE_LOSSES),
            Option("second", "loss", "another", required=True, table=SINGLE_LOSSES),
        ),
        positional=3,
    ),
    Schema(
        "product",
        "one loss times the other",
        (
            Option("first", "loss", "a loss", required=True, table=SINGLE_LOSSES),
            Option("second", "loss", "another", required=True, table=SINGLE_LOSSES),
        ),
        positional=2,
    ),
    Schema(
        "balanced",
        "two losses with weights that follow their sizes from epoch to epoch: `alpha` of the sum "
        "is to be the first one's",
        (
            _ALPHA,
            Option("first", "loss", "a loss", required=True, table=SINGLE_LOSSES),
            Option("second", "loss", "another", required=True, table=SINGLE_LOSSES),
        ),
        positional=3,
    ),
)
"""What `minimize` in a `train` block weighs and adds up."""

_WEIGHTS = Option("of", "word", "what is kept small", required=True, choices=("weights",))
_PART = Option("tightness", "real", "weight of the widths", default=1, minimum=0)
_RELU = Option("relu", "real", "weight of the balance of activations", default=1, minimum=0)

REGULARIZERS: Table = table(
    "regulariser",
    Schema(
        "tightness",
        "how loose bounds of a property are",
        (
            _OF,
            Option(
                "measure",
                "word",
                "against those of another method; or `d`, against the margin at the point where "
                "the bound is attained; or `r`, of the activations there",
                default="gap",
                choices=("gap", "d", "r"),
            ),
            Option("by", "method", "the looser one", default="ibp", table=SOUND_BOUNDS),
            Option("against", "method", "the tighter one", default="crown", table=SOUND_BOUNDS),
        ),
        positional=1,
    ),
    Schema(
        "shi",
        "widths of interval bounds that grow from layer to layer, and activations out of balance",
        (_OF, _PART, _RELU, Option("tau", "real", "tolerance", default="1/2", positive=True)),
        positional=1,
    ),
    Schema(
        "relu_stability",
        "how many activations change their side within a radius",
        (Option("r", "weight", "the radius, in linf", required=True, minimum=0),),
        positional=1,
    ),
    Schema("l1", "sum of absolute values", (_WEIGHTS,), positional=1),
    Schema("l2", "sum of squares", (_WEIGHTS,), positional=1),
    Schema("lipschitz", "product of the largest singular values of the layers"),
)
"""What `regularize` in a `train` block weighs and adds up."""

# --- constraints ----------------------------------------------------------------------------------

_CLASS = Option("class", "int", "only samples of this class; without it all", minimum=0)

MEASURES: Table = table(
    "measure",
    Schema(
        "violation",
        "how far the property is violated, on average over the samples",
        (_PROPERTY, _ATTACK),
        positional=1,
    ),
    Schema(
        "certified_error",
        "share of the samples for which bounds do not show the property",
        (_PROPERTY, _PROVEN, _CLASS),
        positional=1,
    ),
    Schema("clean_error", "share of the samples classified wrongly", (_CLASS,)),
    *SINGLE_LOSSES.schemas.values(),
)
"""What `constrain` bounds."""

MULTIPLIERS: Table = table(
    "method of constraints",
    Schema(
        "lagrangian",
        "a multiplier that grows while the constraint is violated",
        (
            Option("lr", "weight", "how fast it grows", default="1/100", minimum=0),
            Option("init", "real", "its first value", default=0, minimum=0),
        ),
    ),
    Schema(
        "proxy_lagrangian",
        "the same, moved by the measure itself while the weights follow a differentiable one",
        (
            Option("lr", "weight", "how fast it moves", default="1/100", minimum=0),
            Option("init", "real", "its first value", default=0, minimum=0),
        ),
    ),
)
"""What may follow `by` in `constrain`; without it `lagrangian`."""

# --- settings -------------------------------------------------------------------------------------

_RATE = Option(
    "lr",
    "rate",
    "the learning rate: a number or a schedule",
    required=True,
    table=SCHEDULES,
    positive=True,
)
_DECAY = Option("decay", "real", "weight decay", default=0, minimum=0)

OPTIMIZERS: Table = table(
    "optimizer",
    Schema("adam", "Adam", (_RATE, _DECAY), positional=1),
    Schema(
        "sgd",
        "stochastic gradient descent",
        (
            _RATE,
            Option("momentum", "real", "of earlier steps", default=0, minimum=0, maximum=1),
            _DECAY,
        ),
        positional=1,
    ),
)

STARTS: Table = table(
    "initialisation",
    Schema("keep", "the weights that the network has"),
    Schema("default", "random weights as PyTorch draws them"),
    Schema("ibp", "random weights under which interval bounds neither grow nor vanish"),
)
"""What the weights are when training begins."""

WRITERS: Table = table(
    "format to save",
    Schema(
        "onnx",
        "the trained network, with a hash of how it was trained",
        (Option("file", "string", "where to write, beside the spec", required=True),),
        positional=1,
    ),
    Schema(
        "safetensors",
        "the weights alone, for `weights = safetensors(...)` in a network written out",
        (Option("file", "string", "where to write, beside the spec", required=True),),
        positional=1,
    ),
)

PRUNINGS: Table = table(
    "pruning",
    Schema(
        "weights",
        "weights near 0 become 0 and stay so",
        (Option("below", "real", "which are", required=True, positive=True),),
    ),
    Schema(
        "relus",
        "activations that hardly ever change their side become linear, or 0",
        (
            Option("stable", "real", "share of samples", "9/10", minimum=HALF, maximum=1),
            Option("r", "weight", "radius around each sample, in linf", default=0, minimum=0),
        ),
    ),
)
"""What `prune` does, once, when a stage begins."""

SELECTIONS: Table = table(
    "measure to select by",
    Schema(
        "certified",
        "share of samples that are classified correctly and for which bounds show the property",
        (_PROPERTY, Option("by", "method", "how", default="crown_ibp", table=SOUND_BOUNDS)),
        positional=1,
    ),
    Schema(
        "adversarial",
        "share of samples that are classified correctly and that an attack cannot break",
        (_PROPERTY, _ATTACK),
        positional=1,
    ),
    Schema("clean_accuracy", "share of samples classified correctly"),
)
"""What may follow `keep best by`."""

CERTIFIED_CLAIMS: Table = table(
    "claim", Schema("certify", "what is certified of each sample", (_PROPERTY,), positional=1)
)
"""What `certify` takes, written `robust(r = 1/10)` there."""

CERTIFIERS: Table = replace(
    table(
        "stage of a cascade",
        *(replace(schema, options=()) for schema in SOUND_BOUNDS.schemas.values()),
        Schema("alpha_crown", "tighter still: lines that every row chooses for itself"),
        *(BACKENDS.schemas[name] for name in ("lp", "milp", "sdp", "smt", "search", "portfolio")),
    ),
    refused={
        **SOUND_BOUNDS.refused,
        "attack": "finds counterexamples, and proves nothing: one runs before every cascade",
    },
)
"""What may follow `by` in `certify`: bounds of whole batches, and backends that are asked about one
sample after the other.
"""

TRAIN_SETTINGS = Schema(
    "training",
    "how the network is trained",
    (
        Option("epochs", "int", "passes over the data", required=True, minimum=1),
        Option("batch", "int", "samples of one step", default=128, minimum=1),
        _SEED,
        Option("device", "word", "where", default="auto", choices=("auto", "cpu", "cuda")),
        Option("threads", "int", "processor threads; without it as they are", minimum=1),
        Option("optimizer", "method", "how steps are made", required=True, table=OPTIMIZERS),
        Option("clip", "real", "largest norm of a gradient", positive=True),
        Option("budget", "real", "after which training stops", positive=True, unit="s"),
        Option("init", "method", "the first weights", default="keep", table=STARTS),
        Option("patience", "int", "epochs without a better one before it stops", minimum=1),
        Option("method", "preset", "lines to begin with", table=PRESETS),
    ),
    block=True,
)

STAGE_SETTINGS = Schema(
    "stage",
    "some of the epochs, with lines of their own",
    (
        Option("epochs", "int", "passes over the data", required=True, minimum=1),
        Option("optimizer", "method", "how steps are made", table=OPTIMIZERS),
    ),
    block=True,
)
