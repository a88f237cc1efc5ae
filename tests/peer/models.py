"""Writes models with random weights, whose speed can be compared: each in floats and in int8.

    models.py OUT_DIR

resnet18.onnx is ResNet-18 up to layer3, mobilenetv2.onnx all of MobileNetV2, resnext.onnx ResNeXt-50 32x4d up to two
blocks of layer2, with convolutions in 32 groups; all take one float picture of 224 x 224
pixels from 0 to 255. NAME-int8.onnx is the same in QDQ form as onnxruntime's quantiser writes it: u8 activations, i8
weights with a scale a channel, calibrated on random pictures; NAME-qoperator.onnx the same in QOperator form. Time does not depend on what the weights are, so that
nothing has to be downloaded; batch norms are folded, as they are in any model that is shipped. One seed, the same files.

dense3x3-int8.onnx, pointwise-int8.onnx and depthwise3x3-int8.onnx are a stem and many layers of one kind at 56 x 56, for
what a kernel takes (cross/bench-arm.sh).
"""

import sys
import tempfile
from pathlib import Path

# A file of this folder has the name of a package.
sys.path = [p for p in sys.path if Path(p or ".").resolve() != Path(__file__).resolve().parent]

import numpy
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

SIDE = 224
OPSET = 17


class Model:
    """A graph under construction; `last` in its methods is the tensor that they read."""

    def __init__(self, seed):
        self.random = numpy.random.default_rng(seed)
        self.nodes, self.constants, self.count = [], [], 0

    def constant(self, values):
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(numpy.asarray(values, numpy.float32), name))
        return name

    def node(self, op, *inputs, **attributes):
        self.count += 1
        name = f"{op.lower()}{self.count}"
        self.nodes.append(helper.make_node(op, inputs, [name], name, **attributes))
        return name

    def weights(self, *dims, gain=2.0):
        """Weights that keep the variance of what they are multiplied with, as trained ones do."""
        fan_in = numpy.prod(dims[1:])
        return self.random.normal(0.0, numpy.sqrt(gain / fan_in), dims)

    def conv(self, last, inputs, outputs, kernel, stride=1, groups=1, scale=1.0, gain=2.0):
        weights = self.weights(outputs, inputs // groups, kernel, kernel, gain=gain) * scale
        bias = self.random.normal(0.0, 0.1, outputs)
        pad = kernel // 2 if kernel % 2 else 0
        sizes = dict(kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[pad] * 4, group=groups)
        return self.node("Conv", last, self.constant(weights), self.constant(bias), **sizes)

    def relu6(self, last):
        return self.node("Clip", last, self.constant(0.0), self.constant(6.0))

    def save(self, path, last, shape):
        picture = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, SIDE, SIDE])
        result = helper.make_tensor_value_info(last, TensorProto.FLOAT, shape)
        graph = helper.make_graph(self.nodes, path.stem, [picture], [result], self.constants)
        opsets = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
        onnx.checker.check_model(model, full_check=True)
        onnx.save(model, path)


def resnet18(path):
    """Stem and three stages of two basic blocks each."""
    m = Model(18)
    last = m.node("Relu", m.conv("image", 3, 64, 7, 2, scale=1 / 128))
    last = m.node("MaxPool", last, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    inputs = 64
    for outputs, first_stride in [(64, 1), (128, 2), (256, 2)]:
        for stride in (first_stride, 1):
            inner = m.node("Relu", m.conv(last, inputs, outputs, 3, stride))
            inner = m.conv(inner, outputs, outputs, 3, gain=0.5)
            if stride != 1 or inputs != outputs:
                last = m.conv(last, inputs, outputs, 1, stride, gain=1.0)
            last = m.node("Relu", m.node("Add", inner, last))
            inputs = outputs
    m.save(path, last, [1, 256, SIDE // 16, SIDE // 16])


def mobilenetv2(path):
    """Inverted residuals with depthwise convolutions, ReLU6, mean over the picture, 1,000 classes."""
    m = Model(2)
    last = m.relu6(m.conv("image", 3, 32, 3, 2, scale=1 / 64))
    inputs = 32
    stages = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]
    for expansion, outputs, blocks, first_stride in stages:
        for block in range(blocks):
            stride = first_stride if block == 0 else 1
            inner, wide = last, inputs * expansion
            if expansion != 1:
                inner = m.relu6(m.conv(inner, inputs, wide, 1))
            inner = m.relu6(m.conv(inner, wide, wide, 3, stride, groups=wide))
            inner = m.conv(inner, wide, outputs, 1, gain=1.0)
            last = m.node("Add", inner, last) if stride == 1 and inputs == outputs else inner
            inputs = outputs
    last = m.relu6(m.conv(last, inputs, 1280, 1))
    last = m.node("Flatten", m.node("GlobalAveragePool", last), axis=1)
    weights, bias = m.weights(1000, 1280, gain=1.0), m.random.normal(0.0, 0.1, 1000)
    last = m.node("Gemm", last, m.constant(weights), m.constant(bias), transB=1)
    m.save(path, last, [1, 1000])


def resnext(path):
    """Stem, three blocks and two of 32 groups each."""
    m = Model(32)
    last = m.node("Relu", m.conv("image", 3, 64, 7, 2, scale=1 / 128))
    last = m.node("MaxPool", last, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    inputs = 64
    for width, stride in [(128, 1), (128, 1), (128, 1), (256, 2), (256, 1)]:
        inner = m.node("Relu", m.conv(last, inputs, width, 1))
        inner = m.node("Relu", m.conv(inner, width, width, 3, stride, groups=32))
        inner = m.conv(inner, width, 2 * width, 1, gain=0.5)
        if stride != 1 or inputs != 2 * width:
            last = m.conv(last, inputs, 2 * width, 1, stride, gain=1.0)
        last = m.node("Relu", m.node("Add", inner, last))
        inputs = 2 * width
    m.save(path, last, [1, 512, SIDE // 8, SIDE // 8])


def layers(path, channels, kernel, groups, count):
    """`count` layers of one kind after a stem."""
    m = Model(56)
    last = m.node("Relu", m.conv("image", 3, channels, 4, 4, scale=1 / 64))
    for _ in range(count):
        last = m.node("Relu", m.conv(last, channels, channels, kernel, groups=groups))
    m.save(path, last, [1, channels, SIDE // 4, SIDE // 4])


def dense3x3(path):
    layers(path, 64, 3, 1, 6)


def pointwise(path):
    layers(path, 128, 1, 1, 12)


def depthwise3x3(path):
    layers(path, 128, 3, 128, 40)


class Pictures(CalibrationDataReader):
    """Random pictures with large and small blotches, as photographs have."""

    def __init__(self, count=8):
        self.random, self.left = numpy.random.default_rng(224), count

    def picture(self):
        picture = numpy.zeros((3, SIDE, SIDE))
        for cells in (2, 7, 28, 112):
            blotch = self.random.uniform(-1, 1, (3, cells, cells))
            picture += numpy.kron(blotch, numpy.ones((SIDE // cells, SIDE // cells)))
        low, high = picture.min(), picture.max()
        return numpy.rint((picture - low) / (high - low) * 255).astype(numpy.float32)[None]

    def get_next(self):
        self.left -= 1
        return {"image": self.picture()} if self.left >= 0 else None


def quantise(path, target, form):
    form = dict(quant_format=form, activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8)
    with tempfile.TemporaryDirectory() as folder:
        inferred = Path(folder) / path.name
        # Nothing is left to optimise, and without its mark the quantiser warns.
        quant_pre_process(path, inferred, skip_optimization=True, skip_symbolic_shape=True)
        quantize_static(inferred, target, Pictures(), per_channel=True, **form)


def main():
    out = Path(sys.argv[1] if len(sys.argv) == 2 else sys.exit(__doc__))
    out.mkdir(parents=True, exist_ok=True)
    both = {"int8": QuantFormat.QDQ, "qoperator": QuantFormat.QOperator}
    one = {"int8": QuantFormat.QDQ}
    models = {resnet18: both, mobilenetv2: both, resnext: both, dense3x3: one, pointwise: one, depthwise3x3: one}
    for make, forms in models.items():
        path = out / f"{make.__name__}.onnx"
        make(path)
        targets = {out / f"{make.__name__}-{name}.onnx": form for name, form in forms.items()}
        for target, form in targets.items():
            quantise(path, target, form)
        for file in (path, *targets):
            print(f"{file}: {len(onnx.load(file).graph.node)} nodes, {file.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
