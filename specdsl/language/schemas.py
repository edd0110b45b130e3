"""What may be written in `using`, `report`, readers, layers and settings: closed tables.

A name that is not here is an error with a suggestion, never ignored. The tables are data, so that
the checker, the documentation and the backends read the same thing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from types import MappingProxyType
from typing import Literal

Kind = Literal[
    "real",
    "int",
    "string",
    "word",
    "tensor",
    "path",
    "string or int",
    "affine",
    "method",
    "weight",
    "rate",
    "epochs",
    "property",
    "bool",
    "layer",
    "network",
    "composition",
    "counts",
    "loss",
    "preset",
]
"""What an option's value is.

A `word` is one of its choices, written bare; a `tensor` is a number or lists of numbers; a `path`
names a file that is read; `affine` is `affine(scale =, shift =)`; a `method` is a word of the
option's `table`, with arguments of its own. In a `train` block a `weight` is a number or a
schedule, and a `rate` may also write the schedule out; `epochs` are `10..80`; a `property`, a
`network` and a `layer` are named; a `composition` is networks joined by `>>`; `counts` are whole
numbers that grow, `[4, 7]`; a `loss` is a word of the option's `table`; a `preset` too, and stands
for lines of a `train` block.
"""


@dataclass(frozen=True, slots=True)
class Option:
    """One argument. `minimum` and `maximum` are inclusive, and 0 is not `positive`; `default` is
    shown in documentation.

    `required` options have no default. `unit` is what a number is in, where that matters. `table`
    holds the words of a `method`.
    """

    name: str
    kind: Kind
    doc: str
    default: int | str | None = None
    required: bool = False
    choices: tuple[str, ...] = ()
    minimum: int | Fraction | None = None
    unit: str | None = None
    table: Table | None = None
    maximum: int | None = None
    positive: bool = False


@dataclass(frozen=True, slots=True)
class Schema:
    """A word with arguments, or a `block` of settings in braces.

    The first `positional` options may be given by position. `stages`: whether values for later
    epochs may follow, `value for e in 130..200`. `rest`: what any number of further arguments are.
    `refused`: options that the word takes elsewhere, and why it does not here.
    """

    name: str
    doc: str
    options: tuple[Option, ...] = ()
    positional: int = 0
    block: bool = False
    stages: bool = False
    rest: Option | None = None
    refused: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def option(self, name: str) -> Option | None:
        """The option of that name, or None."""
        return next((o for o in self.options if o.name == name), None)


@dataclass(frozen=True, slots=True)
class Table:
    """All words of one sort.

    `to_come`: those that are checked with the rest of a spec, but refused when it runs. `later`:
    words of the language that this version does not even check. `refused`: words that mean
    something elsewhere, and why they do not here.
    """

    noun: str
    schemas: Mapping[str, Schema]
    later: frozenset[str] = field(default_factory=frozenset[str])
    to_come: frozenset[str] = field(default_factory=frozenset[str])
    refused: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def available(self) -> tuple[str, ...]:
        """The words that can be used today."""
        return tuple(name for name in self.schemas if name not in self.to_come)


def table(
    noun: str, *schemas: Schema, later: tuple[str, ...] = (), to_come: tuple[str, ...] = ()
) -> Table:
    """The schemas by their names."""
    return Table(noun, {s.name: s for s in schemas}, frozenset(later), frozenset(to_come))


_TIMEOUT = Option("timeout", "real", "seconds for one obligation", minimum=0, unit="s")
_SEED = Option("seed", "int", "seed of the random starts", default=0, minimum=0)


def _on(name: str, doc: str) -> Option:
    """A technique that can be left out."""
    return Option(name, "bool", f"whether {doc}", default="true")


def _backend(name: str, doc: str, *options: Option) -> Schema:
    return Schema(name, doc, (_TIMEOUT, *options))


_SEARCH = (
    Option(
        "split",
        "word",
        "what is split: inputs, or values of neurons",
        default="auto",
        choices=("auto", "input", "neuron"),
    ),
    Option("batch", "int", "boxes of inputs bounded at once", default=128, minimum=1),
    _on("clip", "boxes of inputs are cut to where bounds allow a violation"),
    _on("learn", "trials tell which input is worth halving"),
    _on("reduce", "boxes of inputs are bounded over what is unstable in them"),
    _on("points", "centres and corners of the worst boxes are tried as witnesses"),
    Option(
        "rule",
        "word",
        "which neuron is split: by its gap, the best of some gaps or widths, or what gains most",
        default="filtered",
        choices=("auto", "gap", "filtered", "width"),
    ),
    _on("tighten", "neurons are bounded by ascent before the first split of one"),
    _on("sharpen", "neurons are bounded where a margin may be 0 or less"),
    Option("steps", "int", "of ascent on every part of a neuron's split", default=10, minimum=0),
    _on("programs", "linear programs decide where no neuron is left to split"),
    _SEED,
)

_MULTI_NEURON = Option(
    "multi_neuron",
    "int",
    "rows of so many neurons of a layer (k-ReLU)",
    default=1,
    minimum=1,
    maximum=3,
)

BACKENDS = table(
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
    _backend(
        "lp",
        "linear relaxation, solved exactly as a linear program",
        Option(
            "bounds",
            "word",
            "of the neurons: Fast-Lin's, without any program (greedy) or with one for every margin"
            " (last); CROWN's; or by a program for each end of every neuron (all)",
            default="crown",
            choices=("greedy", "last", "crown", "alpha_crown", "all"),
        ),
        _MULTI_NEURON,
    ),
    _backend(
        "milp",
        "mixed-integer encoding, complete",
        Option("gap", "real", "relative optimality gap at which to stop", default=0, minimum=0),
        Option(
            "bounds",
            "word",
            "of the neurons: tighter ones leave fewer of them to branch on, and take longer",
            default="crown",
            choices=("crown", "alpha_crown", "milp"),
        ),
        Option(
            "solver",
            "word",
            "what branches: HiGHS, or another that is installed",
            default="highs",
            choices=("highs", "scip", "cbc", "glpk", "gurobi", "cplex"),
        ),
        _MULTI_NEURON,
        Option(
            "cases",
            "word",
            "one program for each, or one for those over an input set",
            default="each",
            choices=("each", "together"),
        ),
    ),
    _backend(
        "sdp",
        "semidefinite relaxation: the rows of `lp`, and products of inputs and neurons",
        Option(
            "bounds",
            "word",
            "of the neurons, as for `lp`",
            default="crown",
            choices=("crown", "alpha_crown", "all"),
        ),
        Option(
            "solver",
            "word",
            "a method of interior points, or one of first order",
            default="clarabel",
            choices=("clarabel", "scs"),
        ),
    ),
    _backend("smt", "exact rationals in Z3, complete, for small networks"),
    _backend(
        "search",
        "branch and bound, complete",
        *_SEARCH,
    ),
    _backend(
        "sampling",
        "random draws: how sure they make a claim, and no proof; the one for smoothed classifiers",
        Option("samples", "int", "draws that count", default=100_000, minimum=1),
        Option("alpha", "real", "how likely it may be wrong", "1/1000", minimum=0),
        Option("selection", "int", "draws that tell if these are worth while", 100, minimum=1),
        Option("batch", "int", "points computed at once", default=1_000, minimum=1),
        Option("seed", "int", "seed of the draws", default=0, minimum=0),
    ),
    _backend(
        "portfolio",
        "attack, then bounds, then search with these options, then milp",
        *_SEARCH,
        _on("attack", "counterexamples are sought before and after bounds"),
        _on("milp", "small networks are left to `milp` where the search gets stuck"),
    ),
    _backend(
        "reach",
        "reachable sets of closed loops, step by step",
        Option(
            "split", "int", "parts into which each axis of the initial set is cut", 1, minimum=1
        ),
        Option(
            "carry",
            "word",
            "what goes from step to step: boxes, or the dependence on the initial state",
            default="symbolic",
            choices=("box", "symbolic"),
        ),
    ),
    later=("dual", "lagrangian", "statistical"),
    to_come=("reach",),
)

_FILE = (Option("file", "string", "where to write, beside the spec", required=True),)

_WITNESS = Schema("witness", "print counterexamples and arguments in the spec's own units")


def _written(name: str, doc: str) -> Schema:
    """A report that is a file."""
    return Schema(name, doc, _FILE, positional=1)


_FIGURES = (
    Schema("certified_accuracy", "share of all samples classified correctly and proven robust"),
    Schema("clean_accuracy", "share of all samples classified correctly"),
    Schema("pgd_accuracy", "share of all samples that no attack could break"),
    Schema("verified_fraction", "share of all obligations that are verified"),
    Schema("confident_fraction", "share of all obligations that are verified or have a confidence"),
    Schema("confidence", "the least confidence of an obligation: 1 if verified, 0 without any"),
    Schema("violating_share", "the largest share of points at which one may fail: 1 if not known"),
)

REPORTS = table(
    "report",
    _WITNESS,
    _written("table", "one row a property, as CSV"),
    _written("per_sample", "one row a sample, as CSV"),
    *_FIGURES,
    _written("reach_tube", "the reachable sets of a closed loop step by step, as NumPy archive"),
    _written("plot", "a picture of the reachable sets of a closed loop, as SVG"),
    later=("curve",),
    to_come=("reach_tube", "plot"),
)
"""What may follow `report` in a `check`."""

FIGURES: tuple[str, ...] = tuple(figure.name for figure in _FIGURES)
"""Reports of a `check` that are one number, and so can stand in its `expect`."""

ACCURACIES: tuple[str, ...] = FIGURES[:3]
"""Figures about labelled samples: a check that asks for one has one property."""

_MIDDLES = (
    Schema("median", "the middle of the proven values, or the mean of the two in the middle"),
    Schema("mean", "the mean of the proven values"),
    Schema("minimum", "the smallest of the proven values"),
    Schema("maximum", "the largest of the proven values"),
)

QUERY_REPORTS = table(
    "report",
    _WITNESS,
    _written("table", "one row for each member of the `for` sets: both ends, as CSV"),
    _written("per_sample", "the same as `table`"),
    _written("histogram", "a picture of how the proven values are distributed, as SVG or PNG"),
    *_MIDDLES,
    later=("curve",),
)
"""What may follow `report` in `maximize`, `minimize`, `largest`, `smallest`."""

QUERY_FIGURES: tuple[str, ...] = tuple(middle.name for middle in _MIDDLES)
"""Reports of a query that are one number: over all members of its `for` sets, of their proven ends.

The proven end is the upper one of `maximize` and the lower one of `largest`; of `minimize` the
lower, of `smallest` the upper one. Where some member has none, no figure is known.
"""
READERS = table(
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
        "npy",
        "one NumPy array of inputs, and one of labels",
        (
            Option("inputs", "path", "file of inputs", required=True),
            Option("labels", "path", "file of labels"),
        ),
        positional=2,
    ),
    Schema(
        "cifar_binary",
        "a file of CIFAR-10 or CIFAR-100 in its binary form",
        (
            Option("file", "path", "for example `data_batch_1.bin`", required=True),
            Option("classes", "int", "10, or 100 for the fine labels of CIFAR-100", 10, minimum=10),
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
    later=("torch_dataset",),
)

AUGMENTATIONS = table(
    "augmentation",
    Schema(
        "shift",
        "by up to so many pixels, in each direction",
        (Option("pixels", "int", "how many", required=True, minimum=1),),
        positional=1,
    ),
    Schema("flip", "left and right exchanged, every other time"),
)
"""What training may do to an input at random."""

DATASET_SETTINGS = Schema(
    "dataset",
    "`scale * x + shift` is applied to every input on reading; the others are for training, and "
    "checks see every sample once, in the order of the file",
    (
        Option("scale", "real", "factor on every entry", default=1),
        Option("shift", "real", "added to every entry after scaling", default=0),
        Option("augment", "method", "for training: random changes", table=AUGMENTATIONS),
        Option("balance", "bool", "for training: every class as often as the others"),
        Option("shuffle", "bool", "for training: another order in each epoch"),
    ),
    block=True,
)

ONNX = Schema(
    "onnx",
    "a network from a file",
    (
        Option("file", "path", "the network, .onnx or .onnx.gz", required=True),
        Option("denormalize", "affine", "what to undo on the outputs: `affine(scale =, shift =)`"),
    ),
    positional=1,
)

GIVEN = Schema(
    "given",
    "a network handed over in Python: `specdsl.load(path, networks={...})`",
    (Option("denormalize", "affine", "what to undo on the outputs: `affine(scale =, shift =)`"),),
)

AFFINE = Schema(
    "affine",
    "`scale * y + shift`",
    (
        Option("scale", "real", "factor on every output", default=1),
        Option("shift", "real", "added to every output after scaling", default=0),
    ),
)

NETWORK_SOURCES = table("network source", ONNX, GIVEN, later=("torch", "torch_module", "nnet"))

NORMALIZE = Schema(
    "normalize",
    "the network sees (x - mean) / range",
    (
        Option("mean", "real", "subtracted", default=0),
        Option("range", "real", "divided by", default=1),
    ),
)
