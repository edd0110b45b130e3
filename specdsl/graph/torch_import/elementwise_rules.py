"""Rules of the PyTorch import for functions of one number: activations, curves, roundings."""

from __future__ import annotations

from fractions import Fraction
from math import log

import numpy as np

from specdsl.graph import composites, ops
from specdsl.graph.torch_import.arithmetic_rules import WIDE_BYTES, Rule, inverse
from specdsl.graph.torch_import.call import DTYPES, AtenCall, Result

# Klambauer et al. 2017, arXiv:1706.02515, as the element type of a module holds them.
SELU_ALPHA = float(np.float32(1.6732632423543772848))
SELU_GAMMA = float(np.float32(1.0507009873554804934))
# Beyond this, log(1 + e^x) and x are one float32 number: e^-17 is less than half of the last digit.
LEAST_THRESHOLD = 17


def elementwise(op: ops.Op) -> Rule:
    """The rule of an ATen op that is one op of the graph."""

    def rule(call: AtenCall) -> Result:
        return call.add(op, call.computed())

    return rule


# --- piecewise linear ----------------------------------------------------------------------------


def leaky_relu(call: AtenCall) -> Result:
    """With any slope."""
    slope = call.number("negative_slope")
    return call.composed(composites.leaky_relu, call.computed(), slope=slope)


def prelu(call: AtenCall) -> Result:
    """One slope, or one a channel, which is axis 1."""
    x, slope = call.computed(), call.weight("weight")
    if slope.size > 1 and len(x.shape) > 1:
        slope = slope.reshape(-1, *(1 for _ in x.shape[2:]))
    return call.composed(composites.prelu, x, slope=slope)


def hardtanh(call: AtenCall) -> Result:
    """`min(max(x, min_val), max_val)`."""
    lower, upper = call.bound("min_val"), call.bound("max_val")
    return call.composed(composites.clip, call.computed(), lower=lower, upper=upper)


def relu6(call: AtenCall) -> Result:
    """`min(max(x, 0), 6)`."""
    return call.composed(composites.clip, call.computed(), lower=0.0, upper=6.0)


def hard_sigmoid(call: AtenCall) -> Result:
    """`min(max(x + 3, 0), 6) / 6`."""
    return call.composed(
        composites.hard_sigmoid, call.computed(), alpha=Fraction(1, 6), beta=Fraction(1, 2)
    )


# --- curves --------------------------------------------------------------------------------------


def elu(call: AtenCall) -> Result:
    """`scale * x` for x >= 0, else `scale * alpha (e^(input_scale x) - 1)`."""
    if call.number("input_scale", 1.0) != 1.0:
        call.refuse("an `input_scale` other than 1")
    bent = call.composed(composites.elu, call.computed(), alpha=call.number("alpha"))
    return call.composed(composites.affine, bent, scale=call.number("scale", 1.0))


def selu(call: AtenCall) -> Result:
    """`gamma * elu(x)`."""
    x = call.computed()
    return call.composed(composites.selu, x, alpha=SELU_ALPHA, gamma=SELU_GAMMA)


def celu(call: AtenCall) -> Result:
    """An alpha that is not positive makes no sense."""
    alpha = call.number("alpha")
    if alpha <= 0:
        call.refuse(f"alpha is {alpha}, not positive")
    return call.composed(composites.celu, call.computed(), alpha=alpha)


def gelu(call: AtenCall) -> Result:
    """By the error function, or approximated by a hyperbolic tangent."""
    op = ops.GeluTanh() if call.arguments["approximate"] == "tanh" else ops.Gelu()
    return call.add(op, call.computed())


def softplus(call: AtenCall) -> Result:
    """`log(1 + e^(beta x)) / beta`; PyTorch gives x itself where `beta x` is over the threshold."""
    beta, threshold = call.number("beta"), call.number("threshold")
    if beta <= 0 or threshold < LEAST_THRESHOLD:
        call.refuse(f"beta {beta:g} and threshold {threshold:g}: not softplus in float32")
    scaled = call.composed(composites.affine, call.computed(), scale=beta)
    bent = call.add(ops.Softplus(), scaled)
    return call.composed(composites.affine, bent, scale=inverse(np.asarray(beta)))


def log_sigmoid(call: AtenCall) -> Result:
    """`-log(1 + e^-x)`."""
    bent = call.add(ops.Softplus(), call.composed(composites.opposite, call.computed()))
    return call.composed(composites.opposite, bent)


def log1p(call: AtenCall) -> Result:
    """`log(1 + x)`."""
    return call.add(ops.Log(), call.composed(composites.affine, call.computed(), shift=1.0))


def expm1(call: AtenCall) -> Result:
    """`e^x - 1`."""
    return call.composed(composites.affine, call.add(ops.Exp(), call.computed()), shift=-1.0)


def half_sum(sign: float) -> Rule:
    """`(e^x + sign * e^-x) / 2`: the hyperbolic cosine, or the sine."""

    def rule(call: AtenCall) -> Result:
        x = call.computed()
        grows = call.add(ops.Exp(), x)
        falls = call.add(ops.Exp(), call.composed(composites.opposite, x))
        total = call.add(ops.Sum((1.0, sign)), grows, falls)
        return call.composed(composites.affine, total, scale=0.5)

    return rule


def logarithm(base: int) -> Rule:
    """`log(x) / log(base)`, the divisor's inverse rounded once to float64."""

    def rule(call: AtenCall) -> Result:
        found = call.add(ops.Log(), call.computed())
        return call.composed(composites.affine, found, scale=1 / log(base))

    return rule


def exponential(base: int) -> Rule:
    """`e^(x log base)`, the logarithm rounded once to float64."""

    def rule(call: AtenCall) -> Result:
        scaled = call.composed(composites.affine, call.computed(), scale=log(base))
        return call.add(ops.Exp(), scaled)

    return rule


# --- roundings and types -------------------------------------------------------------------------


def rounding(op: ops.Rounding) -> Rule:
    """The rule of a rounding; whole numbers stay as they are."""

    def rule(call: AtenCall) -> Result:
        x = call.computed()
        if call.arguments.get("decimals"):
            call.refuse("rounding to decimals")
        return x if x.element.kind in "iub" else call.add(op, x)

    return rule


def identity(call: AtenCall) -> Result:
    """The operand itself."""
    return call.operand("input" if "input" in call.arguments else "self")


def dropout(call: AtenCall) -> Result:
    """Nothing, once training is over."""
    if call.flag("train"):
        call.refuse(
            "dropout as in training",
            help="write `F.dropout(x, p, training=self.training)`, or use `nn.Dropout`",
        )
    return identity(call)


def convert(call: AtenCall) -> Result:
    """Another element type: numbers to whole ones lose what is behind the point."""
    x, element = call.computed(), call.element
    if call.dtype not in DTYPES.values():
        call.refuse(f"a conversion to {call.dtype}")
    if element.kind == "b" and x.element.kind != "b":
        return call.composed(composites.truth, x)
    narrow = element.kind in "iu" and element.itemsize < WIDE_BYTES
    if narrow and x.element not in {element, np.dtype(np.bool_)}:
        call.refuse(f"a conversion of {x.element} to {element}, which may wrap around")
    if element.kind in "iu" and x.element.kind == "f":
        return call.add(ops.Truncate(), x)
    return call.typed(x)


RULES: dict[str, Rule] = {
    "_to_copy": convert,
    "abs": elementwise(ops.Abs()),
    "alias": identity,
    "ceil": rounding(ops.Ceil()),
    "celu": celu,
    "clone": identity,
    "contiguous": identity,
    "cosh": half_sum(1.0),
    "cos": elementwise(ops.Cos()),
    "detach": identity,
    "dropout": dropout,
    "elu": elu,
    "erf": elementwise(ops.Erf()),
    "exp2": exponential(2),
    "exp": elementwise(ops.Exp()),
    "expm1": expm1,
    "feature_dropout": dropout,
    "floor": rounding(ops.Floor()),
    "gelu": gelu,
    "hardsigmoid": hard_sigmoid,
    "hardswish": elementwise(ops.HardSwish()),
    "hardtanh": hardtanh,
    "leaky_relu": leaky_relu,
    "lift_fresh_copy": identity,
    "log": elementwise(ops.Log()),
    "log10": logarithm(10),
    "log2": logarithm(2),
    "log1p": log1p,
    "log_sigmoid": log_sigmoid,
    "mish": elementwise(ops.Mish()),
    "prelu": prelu,
    "reciprocal": elementwise(ops.Reciprocal()),
    "relu": elementwise(ops.Relu()),
    "relu6": relu6,
    "round": rounding(ops.Round()),
    "rsqrt": elementwise(ops.Power(-0.5)),
    "selu": selu,
    "sigmoid": elementwise(ops.Sigmoid()),
    "sign": elementwise(ops.Sign()),
    "silu": elementwise(ops.Silu()),
    "sin": elementwise(ops.Sin()),
    "sinh": half_sum(-1.0),
    "softplus": softplus,
    "sqrt": elementwise(ops.Sqrt()),
    "square": elementwise(ops.Square()),
    "tan": elementwise(ops.Tan()),
    "tanh": elementwise(ops.Tanh()),
    "trunc": rounding(ops.Truncate()),
}
"""Rules by the name of the ATen op, without its overload."""
