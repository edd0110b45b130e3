"""What may be written in `using`, `report`, readers, layers and settings: closed tables.

A name that is not here is an error with a suggestion, never ignored. The tables are data, so that
the checker, the documentation and the backends read the same thing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["real", "int", "string", "word", "tensor", "path", "string or int", "affine"]
"""What an option's value is. A `word` is one of its choices, written bare; a `tensor` is a number
or lists of numbers; a `path` names a file that is read; `affine` is `affine(scale =, shift =)`."""


@dataclass(frozen=True, slots=True)
class Option:
    """One argument. `minimum` is inclusive; `default` is shown in documentation.

    `required` options have no default. `unit` is what a number is in, where that matters.
    """

    name: str
    kind: Kind
    doc: str
    default: int | str | None = None
    required: bool = False
    choices: tuple[str, ...] = ()
    minimum: int | None = None
    unit: str | None = None


@dataclass(frozen=True, slots=True)
class Schema:
    """A word with arguments, or a `block` of settings in braces.

    The first `positional` options may be given by position.
    """

    name: str
    doc: str
    options: tuple[Option, ...] = ()
    positional: int = 0
    block: bool = False

    def option(self, name: str) -> Option | None:
        """The option of that name, or None."""
        return next((o for o in self.options if o.name == name), None)


@dataclass(frozen=True, slots=True)
class Table:
    """All words of one sort. `later` holds words of the language this version does not know yet."""

    noun: str
    schemas: Mapping[str, Schema]
    later: frozenset[str] = field(default_factory=frozenset[str])


def _table(noun: str, *schemas: Schema, later: tuple[str, ...] = ()) -> Table:
    return Table(noun, {s.name: s for s in schemas}, frozenset(later))


_TIMEOUT = Option("timeout", "real", "seconds for one obligation", minimum=0, unit="s")
_SEED = Option("seed", "int", "seed of the random starts", default=0, minimum=0)


def _backend(name: str, doc: str, *options: Option) -> Schema:
    return Schema(name, doc, (_TIMEOUT, *options))


BACKENDS = _table(
    "backend",
    _backend(
        "attack",
        "projected gradient descent: finds counterexamples, never proves",
        Option("steps", "int", "gradient steps of one start", default=100, minimum=1),
        Option("restarts", "int", "random starts", default=30, minimum=1),
        _SEED,
    ),
    _backend(
        "incomplete",
        "bounds without search: proves or gives up",
        Option(
            "method",
            "word",
            "how the bounds are computed",
            default="best",
            choices=("interval", "crown", "best"),
        ),
    ),
    _backend("lp", "linear relaxation, solved exactly as a linear program"),
    _backend(
        "milp",
        "mixed-integer encoding, complete",
        Option("gap", "real", "relative optimality gap at which to stop", default=0, minimum=0),
    ),
    _backend("smt", "exact rationals in Z3, complete, for small networks"),
    _backend(
        "search",
        "branch and bound, complete",
        Option("split", "word", "what is split", default="input", choices=("input",)),
        Option("batch", "int", "domains bounded at once", default=256, minimum=1),
        _SEED,
    ),
    _backend("portfolio", "attack, then bounds, then search", _SEED),
    later=("reach", "sdp", "sampling", "dual", "lagrangian", "statistical"),
)

REPORTS = _table(
    "report",
    Schema("witness", "print counterexamples in the spec's own units"),
    Schema(
        "table",
        "one row a property, as CSV",
        (Option("file", "string", "where to write", required=True),),
        positional=1,
    ),
    Schema(
        "per_sample",
        "one row a sample, as CSV",
        (Option("file", "string", "where to write", required=True),),
        positional=1,
    ),
    Schema("certified_accuracy", "share of all samples classified correctly and proven robust"),
    Schema("clean_accuracy", "share of all samples classified correctly"),
    Schema("pgd_accuracy", "share of all samples that no attack could break"),
    Schema("verified_fraction", "share of all obligations that are verified"),
    later=("plot", "reach_tube", "histogram", "median", "mean", "curve"),
)

FIGURES: tuple[str, ...] = (
    "certified_accuracy",
    "clean_accuracy",
    "pgd_accuracy",
    "verified_fraction",
)
"""Reports that are one number, and so can stand in an `expect`."""

ACCURACIES: tuple[str, ...] = FIGURES[:3]
"""Figures about labelled samples: a check that asks for one has one property."""

READERS = _table(
    "dataset reader",
    Schema(
        "idx",
        "two files as MNIST has them, optionally gzipped",
        (
            Option("images", "path", "file of inputs", required=True),
            Option("labels", "path", "file of labels", required=True),
        ),
        positional=2,
    ),
    Schema(
        "npz",
        "arrays in a NumPy archive",
        (
            Option("file", "path", "the archive", required=True),
            Option("inputs", "string", "name of the array of inputs", default="x"),
            Option("labels", "string", "name of the array of labels", default="y"),
        ),
        positional=1,
    ),
    Schema(
        "csv",
        "a table with one row a sample",
        (
            Option("file", "path", "the table", required=True),
            Option("label", "string or int", "the column of the label: its name or number"),
        ),
        positional=1,
    ),
    Schema(
        "sklearn",
        "a data set that scikit-learn carries",
        (
            Option(
                "name",
                "string",
                "which one",
                required=True,
                choices=("digits", "iris", "wine", "breast_cancer"),
            ),
        ),
        positional=1,
    ),
    later=("cifar_binary", "torch_dataset", "npy"),
)

DATASET_SETTINGS = Schema(
    "dataset",
    "applied to every input on reading: `scale * x + shift`",
    (
        Option("scale", "real", "factor on every entry", default=1),
        Option("shift", "real", "added to every entry after scaling", default=0),
    ),
    block=True,
)

LATER_DATASET_SETTINGS: frozenset[str] = frozenset({"augment", "balance", "shuffle"})

ONNX = Schema(
    "onnx",
    "a network from a file",
    (
        Option("file", "path", "the network, .onnx or .onnx.gz", required=True),
        Option("denormalize", "affine", "what to undo on the outputs: `affine(scale =, shift =)`"),
    ),
    positional=1,
)

AFFINE = Schema(
    "affine",
    "`scale * y + shift`",
    (
        Option("scale", "real", "factor on every output", default=1),
        Option("shift", "real", "added to every output after scaling", default=0),
    ),
)

NETWORK_SOURCES = _table("network source", ONNX, later=("torch", "torch_module", "nnet"))

_WEIGHT = Option("weight", "tensor", "explicit weights")
_BIAS = Option("bias", "tensor", "explicit offsets")

LAYERS = _table(
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
            Option("padding", "tensor", "zeros on each side", default=0),
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
    Schema("flatten", "the same entries as a vector"),
    Schema(
        "normalize",
        "(x - mean) / std",
        (
            Option("mean", "tensor", "one number or one a channel", default=0),
            Option("std", "tensor", "one number or one a channel", default=1),
        ),
    ),
    later=(
        "sigmoid",
        "tanh",
        "softmax",
        "maxpool",
        "max_pool",
        "avgpool",
        "average_pool",
        "batch_norm",
        "dropout",
        "gelu",
        "hardtanh",
    ),
)

NORMALIZE = Schema(
    "normalize",
    "the network sees (x - mean) / range",
    (
        Option("mean", "real", "subtracted", default=0),
        Option("range", "real", "divided by", default=1),
    ),
)
