"""What may be written among the layers of an inline network: closed tables, as data."""

from __future__ import annotations

from specdsl.language.schemas import Option, Schema, Table, table

_WEIGHT = Option("weight", "tensor", "explicit weights")
_BIAS = Option("bias", "tensor", "explicit offsets")
_KERNEL = Option(
    "kernel", "tensor", "extent of the window, one number or one an axis", required=True
)
_STRIDE = Option("stride", "tensor", "one number or one an axis; without it that of the kernel")
_PADDING = Option("padding", "tensor", "zeros on each side", default=0)

_AVERAGE = (
    "the mean of a window, the padding's zeros among it",
    (_KERNEL, _STRIDE, _PADDING),
)
_LARGEST = ("the largest entry of a window", (_KERNEL, _STRIDE, _PADDING))

LAYERS: Table = table(
    "layer",
    Schema(
        "dense",
        "`weight @ x + bias`",
        (Option("size", "int", "outputs, weights to be trained", minimum=1), _WEIGHT, _BIAS),
        positional=1,
    ),
    Schema(
        "conv",
        "convolution",
        (
            Option("channels", "int", "output channels, weights to be trained", minimum=1),
            Option("kernel", "tensor", "extent of the kernel, one number or one an axis"),
            _WEIGHT,
            _BIAS,
            Option("stride", "tensor", "one number or one an axis", default=1),
            _PADDING,
        ),
        positional=1,
    ),
    Schema("relu", "max(x, 0)"),
    Schema(
        "leaky_relu",
        "x where positive, else slope * x",
        (Option("slope", "real", "slope on the left", required=True, minimum=0),),
        positional=1,
    ),
    Schema(
        "clip",
        "min(max(x, minimum), maximum)",
        (
            Option("minimum", "real", "least value", required=True),
            Option("maximum", "real", "largest value", required=True),
        ),
        positional=2,
    ),
    Schema("hardtanh", "clip(-1, 1)"),
    Schema("sigmoid", "1 / (1 + exp(-x))"),
    Schema("tanh", "hyperbolic tangent"),
    Schema("average_pool", *_AVERAGE, positional=1),
    Schema("avgpool", *_AVERAGE, positional=1),
    Schema("max_pool", *_LARGEST, positional=1),
    Schema("maxpool", *_LARGEST, positional=1),
    Schema(
        "batch_norm",
        "(x - mean) / sqrt(variance + epsilon) * gamma + beta, for each channel; without `mean` "
        "and `variance` they come from training",
        (
            Option("mean", "tensor", "one number a channel"),
            Option("variance", "tensor", "one number a channel"),
            Option("gamma", "tensor", "one number a channel", default=1),
            Option("beta", "tensor", "one number a channel", default=0),
            Option("epsilon", "real", "keeps the root from zero", default="1/100000", minimum=0),
        ),
    ),
    Schema(
        "dropout",
        "for training: entries set to zero at random; nothing otherwise",
        (Option("share", "real", "how many of them", required=True, minimum=0),),
        positional=1,
    ),
    Schema("flatten", "the same entries as a vector"),
    Schema(
        "normalize",
        "(x - mean) / std",
        (
            Option("mean", "tensor", "one number or one a channel", default=0),
            Option("std", "tensor", "one number or one a channel", default=1),
        ),
    ),
    later=("softmax", "gelu"),
    to_come=("sigmoid", "tanh", "max_pool", "maxpool"),
)

SKIPS: Table = table(
    "skip connection",
    Schema(
        "add",
        "adds what a layer above gave",
        (
            Option("from", "layer", "a layer with a name, or `input`", required=True),
            Option(
                "by", "method", "a layer on the way, which makes the shapes equal", table=LAYERS
            ),
        ),
        positional=1,
    ),
)

_SEED = Option("seed", "int", "seed of the random numbers", default=0, minimum=0)

INITIALIZERS: Table = table(
    "initialisation",
    Schema("standard", "uniform, as wide as the layer's inputs ask for", (_SEED,)),
    Schema(
        "ibp", "normal, so narrow that interval bounds do not grow from layer to layer", (_SEED,)
    ),
)

NETWORK_SETTINGS = Schema(
    "network",
    "settings among the layers",
    (
        Option(
            "init",
            "method",
            "the weights before training",
            default="standard",
            table=INITIALIZERS,
        ),
    ),
    block=True,
)
