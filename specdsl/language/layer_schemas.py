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
_GAMMA = Option("gamma", "tensor", "one number a channel", default=1)
_BETA = Option("beta", "tensor", "one number a channel", default=0)
_EPSILON = Option("epsilon", "real", "keeps the root from zero", default="1/100000", minimum=0)
_ALPHA = Option("alpha", "real", "how far it goes below 0", default=1, minimum=0)

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
    Schema(
        "conv_transpose",
        "the transpose of a convolution; axes of its weight: in, out, then the kernel",
        (
            Option("channels", "int", "output channels, weights to be trained", minimum=1),
            Option("kernel", "tensor", "extent of the kernel, one number or one an axis"),
            _WEIGHT,
            _BIAS,
            Option("stride", "tensor", "one number or one an axis", default=1),
            Option("padding", "tensor", "entries cut from each side of the result", default=0),
            Option("output_padding", "tensor", "entries added at the end of each axis", default=0),
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
    Schema("softplus", "log(1 + exp(x))"),
    Schema("softsign", "x / (1 + |x|)"),
    Schema("elu", "x where positive, else alpha * (exp(x) - 1)", (_ALPHA,), positional=1),
    Schema("celu", "x where positive, else alpha * (exp(x / alpha) - 1)", (_ALPHA,), positional=1),
    Schema("selu", "1.0507 elu(x) with alpha = 1.6733, both to float64"),
    Schema("gelu", "x times the standard normal distribution function of x"),
    Schema("gelu_tanh", "the same by a hyperbolic tangent"),
    Schema("silu", "x * sigmoid(x), also called swish"),
    Schema("mish", "x * tanh(log(1 + exp(x)))"),
    Schema("hardsigmoid", "clip(x / 6 + 1/2, 0, 1)"),
    Schema("hardswish", "x * clip(x / 6 + 1/2, 0, 1)"),
    Schema("softmax", "exp(x) / sum(exp(x)) of a vector"),
    Schema("log_softmax", "the logarithm of softmax"),
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
            _GAMMA,
            _BETA,
            _EPSILON,
        ),
    ),
    Schema(
        "layer_norm",
        "(x - mean) / sqrt(variance + epsilon) * gamma + beta, of all entries together",
        (
            Option("gamma", "tensor", "one number or one an entry", default=1),
            Option("beta", "tensor", "one number or one an entry", default=0),
            _EPSILON,
        ),
    ),
    Schema(
        "instance_norm",
        "the same, of each channel by itself",
        (_GAMMA, _BETA, _EPSILON),
    ),
    Schema(
        "group_norm",
        "the same, of groups of channels",
        (
            Option("groups", "int", "how many groups", required=True, minimum=1),
            _GAMMA,
            _BETA,
            _EPSILON,
        ),
        positional=1,
    ),
    Schema(
        "dropout",
        "for training: entries set to zero at random; nothing otherwise",
        (Option("share", "real", "how many of them", required=True, minimum=0),),
        positional=1,
    ),
    Schema("flatten", "the same entries as a vector"),
    Schema(
        "reshape",
        "the same entries in another shape, row by row",
        (Option("shape", "tensor", "the shape: `[8, 4, 4]`", required=True),),
        positional=1,
    ),
    Schema(
        "normalize",
        "(x - mean) / std",
        (
            Option("mean", "tensor", "one number or one a channel", default=0),
            Option("std", "tensor", "one number or one a channel", default=1),
        ),
    ),
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

WEIGHTS: Table = table(
    "weight file",
    Schema(
        "safetensors",
        "tensors called as in a PyTorch state dict: `c1.weight` for a layer with the name `c1`, "
        "`0.weight` for the first layer without one",
        (
            Option("file", "path", "the weights, .safetensors", required=True),
            Option("prefix", "string", "what stands before the name of every layer", default=""),
        ),
        positional=1,
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
        Option("weights", "method", "where weights that are not written out lie", table=WEIGHTS),
    ),
    block=True,
)
