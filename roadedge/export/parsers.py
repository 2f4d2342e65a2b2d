"""What the ONNX parsers of two TensorRT releases read, so that a file can be judged where no TensorRT is.

These are the releases that JetPack 6 holds a device to: 8.6 (JetPack 6.0) and 10.3 (JetPack 6.1 and 6.2). Later parsers
read more, and say so themselves when a build begins.

Source: docs/operators.md and docs/Changelog.md of github.com/onnx/onnx-tensorrt. 8.6: the table of 8.5 (commit 6d0ab7b)
and what the change log adds for 8.6. 10.3: the table of 10.6 (commit 0137504) without what the change log adds after
10.3. The opset of 10.3 is taken as 20, carefully: the table of 10.6, which moved on to ONNX 1.17, is the first at hand
to name 22.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ParserLine:
    """One release: the opsets of the default domain and the operators that its parser reads."""

    release: str
    opsets: range
    operators: frozenset[str]


_IN_8_5 = """
Abs Acos Acosh Add And ArgMax ArgMin Asin Asinh Atan Atanh AveragePool BatchNormalization Cast Ceil Celu Clip Concat
Constant ConstantOfShape Conv ConvTranspose Cos Cosh CumSum DepthToSpace DequantizeLinear Div Dropout Einsum Elu Equal
Erf Exp Expand EyeLike Flatten Floor Gather GatherElements GatherND Gemm GlobalAveragePool GlobalLpPool GlobalMaxPool
Greater GreaterOrEqual GridSample GRU HardSwish HardSigmoid Identity If ImageScaler InstanceNormalization IsNaN
LeakyRelu Less LessOrEqual Log LogSoftmax Loop LRN LSTM LpNormalization LpPool MatMul Max MaxPool Mean
MeanVarianceNormalization
Min Mod Mul Neg NonMaxSuppression NonZero Not OneHot Or Pad ParametricSoftplus Pow PRelu QuantizeLinear RandomNormal
RandomNormalLike RandomUniform RandomUniformLike Range Reciprocal ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp
ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu Reshape Resize ReverseSequence RNN RoiAlign
Round ScaledTanh Scan Scatter ScatterElements ScatterND Selu Shape Shrink Sigmoid Sign Sin Sinh Size Slice Softmax
Softplus Softsign SpaceToDepth Split Sqrt Squeeze Sub Sum Tan Tanh ThresholdedRelu Tile TopK Transpose Trilu Unsqueeze
Upsample Where Xor
"""
_ADDED_8_6 = "GroupNormalization LayerNormalization IsInf"
_ADDED_10_3 = "CastLike DeformConv Gelu Hardmax Mish"

PARSERS = {
    "8.6": ParserLine("8.6", range(7, 18), frozenset((_IN_8_5 + _ADDED_8_6).split())),
    "10.3": ParserLine("10.3", range(9, 21), frozenset(f"{_IN_8_5} {_ADDED_8_6} {_ADDED_10_3}".split())),
}

# Attributes that both parsers take some values of only; an absent attribute has ONNX's default, which they take.
ATTRIBUTES: dict[tuple[str, str], frozenset[str]] = {
    ("Resize", "mode"): frozenset({"nearest", "linear"}),
    ("Resize", "coordinate_transformation_mode"): frozenset(
        {"half_pixel", "pytorch_half_pixel", "tf_half_pixel_for_nn", "asymmetric", "align_corners"}
    ),
    ("Resize", "nearest_mode"): frozenset({"floor", "ceil", "round_prefer_floor", "round_prefer_ceil"}),
}
