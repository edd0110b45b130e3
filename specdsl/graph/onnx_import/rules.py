"""One rule for each ONNX op: what it computes, as ops of the graph.

A rule takes a `NodeCall` and returns the node's results. To support an op of a known kind, write a
rule and add it to `RULES`. The meaning is that of ONNX over the real numbers: `Div` by 3 is an
exact third, `alpha * weight` is not rounded to float32.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from specdsl.graph import ops
from specdsl.graph.onnx_import import arithmetic_rules as arithmetic
from specdsl.graph.onnx_import import constant_rules as constant
from specdsl.graph.onnx_import import elementwise_rules as elementwise
from specdsl.graph.onnx_import import gather_rules as gather
from specdsl.graph.onnx_import import layout_rules as layout
from specdsl.graph.onnx_import import logic_rules as logic
from specdsl.graph.onnx_import import normalisation_rules as normalisation
from specdsl.graph.onnx_import import product_rules as product
from specdsl.graph.onnx_import import quantisation_rules as quantisation
from specdsl.graph.onnx_import import reduction_rules as reduction
from specdsl.graph.onnx_import import resize_rules as resize
from specdsl.graph.onnx_import import slice_rules as slices
from specdsl.graph.onnx_import import window_rules as windows

RULES: Mapping[str, elementwise.Rule] = MappingProxyType(
    {
        "Abs": elementwise.absolute,
        "Add": arithmetic.add,
        "And": logic.both,
        "ArgMax": reduction.argmax,
        "ArgMin": reduction.argmin,
        "AveragePool": windows.average_pool,
        "BatchNormalization": normalisation.batch_norm,
        "Cast": constant.cast,
        "CastLike": constant.cast_like,
        "Ceil": elementwise.stepwise(ops.Ceil()),
        "Celu": elementwise.celu,
        "Clip": elementwise.clip,
        "Concat": slices.concat,
        "Constant": constant.constant,
        "ConstantOfShape": constant.constant_of_shape,
        "Conv": windows.conv,
        "ConvTranspose": windows.conv_transpose,
        "Cos": elementwise.elementwise(ops.Cos()),
        "CumSum": reduction.cumulative_sum,
        "DepthToSpace": slices.depth_to_space,
        "DequantizeLinear": quantisation.dequantize,
        "Div": arithmetic.divide,
        "Dropout": layout.dropout,
        "Elu": elementwise.elu,
        "Equal": logic.equal,
        "Erf": elementwise.elementwise(ops.Erf()),
        "Exp": elementwise.elementwise(ops.Exp()),
        "Expand": layout.expand,
        "Flatten": layout.flatten,
        "Floor": elementwise.stepwise(ops.Floor()),
        "Gather": gather.gather,
        "GatherElements": gather.gather_elements,
        "GatherND": gather.gather_nd,
        "Gelu": elementwise.gelu,
        "Gemm": product.gemm,
        "GlobalAveragePool": windows.global_average_pool,
        "GlobalMaxPool": windows.global_max_pool,
        "Greater": logic.greater,
        "GreaterOrEqual": logic.greater_or_equal,
        "GroupNormalization": normalisation.group_norm,
        "HardSigmoid": elementwise.hard_sigmoid,
        "HardSwish": elementwise.elementwise(ops.HardSwish()),
        "Hardmax": reduction.hardmax,
        "Identity": layout.identity,
        "InstanceNormalization": normalisation.instance_norm,
        "LRN": normalisation.local_response,
        "LayerNormalization": normalisation.layer_norm,
        "LeakyRelu": elementwise.leaky_relu,
        "Less": logic.less,
        "LessOrEqual": logic.less_or_equal,
        "Log": elementwise.elementwise(ops.Log()),
        "LogSoftmax": elementwise.log_softmax,
        "LpNormalization": normalisation.lp_normalisation,
        "MatMul": product.matmul,
        "Max": arithmetic.maximum,
        "MaxPool": windows.max_pool,
        "Mean": arithmetic.mean,
        "Min": arithmetic.minimum,
        "Mish": elementwise.elementwise(ops.Mish()),
        "Mul": arithmetic.multiply,
        "Neg": arithmetic.negate,
        "Not": logic.negation,
        "OneHot": gather.one_hot,
        "Or": logic.either,
        "PRelu": elementwise.prelu,
        "Pad": slices.pad,
        "Pow": arithmetic.power,
        "QuantizeLinear": quantisation.quantize,
        "Range": constant.range_,
        "Reciprocal": arithmetic.reciprocal,
        "ReduceL1": reduction.reduce_l1,
        "ReduceL2": reduction.reduce_l2,
        "ReduceLogSumExp": reduction.reduce_log_sum_exp,
        "ReduceMax": reduction.reduce_max,
        "ReduceMean": reduction.reduce_mean,
        "ReduceMin": reduction.reduce_min,
        "ReduceProd": reduction.reduce_prod,
        "ReduceSum": reduction.reduce_sum,
        "ReduceSumSquare": reduction.reduce_sum_square,
        "Relu": elementwise.relu,
        "Reshape": layout.reshape,
        "Resize": resize.resize,
        "Round": elementwise.stepwise(ops.Round()),
        "Scatter": gather.scatter_elements,
        "ScatterElements": gather.scatter_elements,
        "ScatterND": gather.scatter_nd,
        "Selu": elementwise.selu,
        "Shape": constant.shape,
        "Sigmoid": elementwise.elementwise(ops.Sigmoid()),
        "Sign": elementwise.stepwise(ops.Sign()),
        "Sin": elementwise.elementwise(ops.Sin()),
        "Size": constant.size,
        "Slice": slices.slice_,
        "Softmax": elementwise.softmax,
        "Softplus": elementwise.elementwise(ops.Softplus()),
        "Softsign": elementwise.elementwise(ops.Softsign()),
        "SpaceToDepth": slices.space_to_depth,
        "Split": slices.split,
        "Sqrt": elementwise.elementwise(ops.Sqrt()),
        "Squeeze": layout.squeeze,
        "Sub": arithmetic.subtract,
        "Sum": arithmetic.total,
        "Swish": elementwise.swish,
        "Tan": elementwise.elementwise(ops.Tan()),
        "Tanh": elementwise.elementwise(ops.Tanh()),
        "ThresholdedRelu": elementwise.thresholded_relu,
        "Tile": layout.tile,
        "TopK": reduction.top_k,
        "Transpose": layout.transpose,
        "Unsqueeze": layout.unsqueeze,
        "Upsample": resize.upsample,
        "Where": logic.where,
        "Xor": logic.exactly_one,
    }
)
"""Every supported ONNX op and its rule."""
