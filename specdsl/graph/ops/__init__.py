"""Ops as facts: what each node of a graph computes, stated once, as data.

A method (interval bounds, relaxation, MILP encoding, SMT encoding, evaluation) registers a rule on
the *kind* of op with `functools.singledispatch`, and on an op itself only where a special rule is
better. Parameters are numpy arrays: float arrays are exact (every float is a dyadic rational);
arrays of dtype object hold `Fraction`s and are exact too (normalisation constants from a spec).

Shapes are those of the original model, its batch axis (of extent 1) included: nothing guesses which
axis is the batch. Kernels that work on many points put their own axis in front.

| kind | what it is |
|---|---|
| `Affine`, of it `Rearrange` | a linear map and an offset; entries moved |
| `PiecewiseLinear` | elementwise, finitely many linear pieces, continuous |
| `Smooth` | elementwise, convex and concave pieces, continuous |
| `Step` | elementwise, constant but for jumps |
| `Polynomial` | elementwise products |
| `GroupMax` | the largest of several entries |
"""

from specdsl.graph.ops.affine import (
    Affine,
    BatchNorm,
    Concat,
    Conv,
    ConvTranspose,
    Dense,
    Rearrange,
    Reshape,
    Scale,
    Select,
    Sum,
    Transpose,
)
from specdsl.graph.ops.base import Array, Constant, Input, Op, Shape, ShapeMismatch, as_float
from specdsl.graph.ops.maximum import GroupMax
from specdsl.graph.ops.piecewise import Abs, Clip, LeakyRelu, PiecewiseLinear, Relu
from specdsl.graph.ops.polynomial import Multiply, Polynomial, Square
from specdsl.graph.ops.smooth import (
    Cos,
    Elu,
    Erf,
    Exp,
    Gelu,
    GeluTanh,
    HardSwish,
    Log,
    Mish,
    Power,
    Reciprocal,
    Sigmoid,
    Silu,
    Sin,
    Smooth,
    Softplus,
    Softsign,
    Sqrt,
    Tan,
    Tanh,
)
from specdsl.graph.ops.steps import (
    Ceil,
    Floor,
    IsZero,
    NotNegative,
    Positive,
    Round,
    Rounding,
    Sign,
    Step,
    Threshold,
    Truncate,
)

__all__ = [
    "Abs",
    "Affine",
    "Array",
    "BatchNorm",
    "Ceil",
    "Clip",
    "Concat",
    "Constant",
    "Conv",
    "ConvTranspose",
    "Cos",
    "Dense",
    "Elu",
    "Erf",
    "Exp",
    "Floor",
    "Gelu",
    "GeluTanh",
    "GroupMax",
    "HardSwish",
    "Input",
    "IsZero",
    "LeakyRelu",
    "Log",
    "Mish",
    "Multiply",
    "NotNegative",
    "Op",
    "PiecewiseLinear",
    "Polynomial",
    "Positive",
    "Power",
    "Rearrange",
    "Reciprocal",
    "Relu",
    "Reshape",
    "Round",
    "Rounding",
    "Scale",
    "Select",
    "Shape",
    "ShapeMismatch",
    "Sigmoid",
    "Sign",
    "Silu",
    "Sin",
    "Smooth",
    "Softplus",
    "Softsign",
    "Sqrt",
    "Square",
    "Step",
    "Sum",
    "Tan",
    "Tanh",
    "Threshold",
    "Transpose",
    "Truncate",
    "as_float",
]
