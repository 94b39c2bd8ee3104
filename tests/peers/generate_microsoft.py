"""Makes `tests/golden/microsoft`: the operators of onnxruntime's own domain, and what onnxruntime says of them.

    python tests/peers/generate_microsoft.py

`operators.onnx` holds one node per case, each with inputs and outputs of its own (`CASE.i0`, `CASE.o0`);
`operators.npz` their values. The nets are made by onnxruntime's own tools: static quantisation in both formats, and the
files that its optimiser writes. `tests/golden/README.md` describes the files. Every number follows from the seeds here.

The reference runs as people deploy it, with all optimisations, for the quantised nets: that is where onnxruntime puts
whole numbers in the place of real ones. Weights have seven bits (`reduce_range`): with eight, processors without VNNI
saturate sums of two products at 16 bits, and no two kinds of processor agree.

Needs numpy, onnx and onnxruntime.
"""

import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "microsoft"
MICROSOFT = "com.microsoft"
OFF, EXTENDED, ALL = (
    getattr(ort.GraphOptimizationLevel, f"ORT_{n}") for n in ("DISABLE_ALL", "ENABLE_EXTENDED", "ENABLE_ALL")
)
rng = np.random.default_rng(9)


def session(model, level, save=None, int8=False):
    """`int8`: quantised activations of type int8 are computed in whole numbers, too; on ARM they always are."""
    options = ort.SessionOptions()
    options.add_session_config_entry("session.qdqisint8allowed", str(int(int8)))
    options.graph_optimization_level = level
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    if save:
        options.optimized_model_filepath = str(save)
    model = model if isinstance(model, str) else model.SerializeToString()
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


# --- operators ------------------------------------------------------------------------------------------------------

nodes, inputs, outputs, constants, values = [], [], [], [], {}


def floats(*shape, low=-2.0, high=2.0):
    return rng.uniform(low, high, shape).astype(np.float32)


def whole(kind, *shape, low=None, high=None):
    info = np.iinfo(kind)
    low, high = info.min if low is None else low, info.max if high is None else high
    return rng.integers(low, high + 1, shape).astype(kind)


def f(value):
    return np.array(value, np.float32)


def u8(value):
    return np.array(value, np.uint8)


def i8(value):
    return np.array(value, np.int8)


def i32(value):
    return np.array(value, np.int32)


class Fixed:
    """A value that a file holds: a weight, a scale, a zero point."""

    def __init__(self, value):
        self.value = np.asarray(value)


def case(name, op, *given, domain=MICROSOFT, wanted=(0,), **attributes):
    names = []
    for i, value in enumerate(given):
        own = f"{name}.i{i}"
        if value is None:
            names.append("")
            continue
        names.append(own)
        if isinstance(value, Fixed):
            constants.append(numpy_helper.from_array(value.value, own))
        else:
            inputs.append(helper.make_tensor_value_info(own, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape))
            values[f"in:{own}"] = value
    given_names = [f"{name}.o{i}" if i in wanted else "" for i in range(max(wanted) + 1)]
    nodes.append(helper.make_node(op, names, given_names, name, domain=domain, **attributes))
    outputs.extend(n for n in given_names if n)


def operators():
    for kind, zero, tag in ((np.uint8, 7, "u8"), (np.int8, -3, "i8")):
        a, b = whole(kind, 3, 5), whole(kind, 3, 5)
        s, z = Fixed(f(0.5)), Fixed(np.array(zero, kind))
        t, y = Fixed(f(0.25)), Fixed(np.array(zero + 2, kind))
        one, two = Fixed(f(1.0)), Fixed(f(2.0))
        case(f"add-{tag}", "QLinearAdd", a, s, z, b, s, y, one, y)
        case(f"add-broadcast-{tag}", "QLinearAdd", a, s, z, b[:1], t, y, Fixed(f(0.3)), z)
        case(f"mul-{tag}", "QLinearMul", a, s, z, b, t, y, two, z)
        case(f"sigmoid-{tag}", "QLinearSigmoid", a, Fixed(f(0.05)), z, Fixed(f(1 / 256)), y)
        case(f"leaky-{tag}", "QLinearLeakyRelu", a, one, z, two, y, alpha=0.5)
        case(f"softmax-{tag}", "QLinearSoftmax", a, Fixed(f(0.1)), z, Fixed(f(1 / 128)), y, axis=-1, opset=13)
        case(f"softmax-old-{tag}", "QLinearSoftmax", whole(kind, 2, 3, 2), s, z, Fixed(f(1 / 128)), y, axis=1, opset=11)
        case(f"concat-{tag}", "QLinearConcat", two, y, a, one, z, b, two, y, axis=1)
        case(f"where-{tag}", "QLinearWhere", rng.random((3, 5)) < 0.5, a, one, z, b, s, y, two, y)
        x = whole(kind, 2, 3, 4, 4)
        case(f"global-{tag}", "QLinearGlobalAveragePool", x, one, z, two, y)
        case(f"global-last-{tag}", "QLinearGlobalAveragePool", x, one, z, two, y, channels_last=1)
        pool = dict(kernel_shape=[2, 2], strides=[2, 2])
        case(f"average-{tag}", "QLinearAveragePool", x, one, z, two, y, **pool)
        wide = dict(kernel_shape=[3, 3], pads=[1, 1, 1, 1])
        case(f"average-pads-{tag}", "QLinearAveragePool", x, one, z, two, y, count_include_pad=1, **wide)
        case(f"average-inside-{tag}", "QLinearAveragePool", x, one, z, two, y, **wide)
        case(f"average-last-{tag}", "QLinearAveragePool", x, one, z, two, y, channels_last=1, **pool)
        m, w = whole(kind, 4, 6), Fixed(whole(np.int8, 6, 5, low=-64, high=63))
        per = [Fixed(floats(5, low=0.1, high=0.3)), Fixed(np.zeros(5, np.int8))]
        case(f"gemm-{tag}", "QGemm", m, s, z, w, Fixed(f(0.25)), Fixed(i8(0)), None, Fixed(f(8.0)), y)
        bias = Fixed(whole(np.int32, 5, low=-500, high=500))
        case(f"gemm-column-{tag}", "QGemm", m, s, z, w, *per, bias, Fixed(f(9.0)), y)
        turned = Fixed(np.ascontiguousarray(w.value.T))
        case(f"gemm-real-{tag}", "QGemm", m, s, z, turned, *per, bias, transB=1, alpha=0.5)
        case(f"matmul-{tag}", "QLinearMatMul", m, s, z, w, Fixed(f(0.25)), Fixed(i8(0)), Fixed(f(8.0)), y, domain="")
        k = Fixed(whole(np.int8, 4, 3, 3, 3, low=-64, high=63))
        scales = [Fixed(floats(4, low=0.1, high=0.3)), Fixed(np.zeros(4, np.int8))]
        case(f"conv-{tag}", "QLinearConv", x, s, z, k, *scales, Fixed(f(16.0)), y, domain="", pads=[1] * 4)
        case(f"quantize-{tag}", "QuantizeLinear", floats(3, 5, high=200), s, z)
        case(f"dequantize-{tag}", "DequantizeLinear", a, s, z)
    wide = [Fixed(f(0.001)), Fixed(np.array(100, np.int16))]
    case("quantize-i16", "QuantizeLinear", floats(3, 5), *wide)
    case("dequantize-i16", "DequantizeLinear", whole(np.int16, 3, 5), *wide)
    a, w = floats(2, 3, 8), Fixed(whole(np.int8, 8, 5, low=-64, high=63))
    scales, zeros = Fixed(floats(5, low=0.01, high=0.03)), Fixed(i8([3] * 5))
    bias = Fixed(floats(5))
    case("dynamic-matmul", "DynamicQuantizeMatMul", a, w, Fixed(f(0.02)), Fixed(i8(3)))
    case("dynamic-matmul-column", "DynamicQuantizeMatMul", a, w, scales, zeros, bias)
    q = whole(np.uint8, 2, 3, 8)
    case("matmul-to-float", "MatMulIntegerToFloat", q, w, Fixed(f(0.1)), Fixed(f(0.02)), Fixed(u8(9)), Fixed(i8(3)))
    case("matmul-to-float-column", "MatMulIntegerToFloat", q, w, Fixed(f(0.1)), scales, Fixed(u8(9)), zeros, bias)

    x, w, b = floats(2, 3, 5, 5), Fixed(floats(4, 3, 3, 3)), Fixed(floats(4))
    case("conv-relu", "FusedConv", x, w, b, activation="Relu", pads=[1] * 4)
    case("conv-sum", "FusedConv", x, w, b, floats(2, 4, 5, 5), activation="Relu", pads=[1] * 4)
    case("conv-clip", "FusedConv", x, w, b, activation="Clip", activation_params=[0.0, 6.0])
    case("conv-leaky", "FusedConv", x, w, None, activation="LeakyRelu", activation_params=[0.2])
    case("conv-hard", "FusedConv", x, w, b, activation="HardSigmoid", activation_params=[0.3, 0.4])
    case("conv-tanh", "FusedConv", x, w, b, activation="Tanh", strides=[2, 2])
    a, b = floats(2, 3, 4), floats(2, 5, 4)
    case("matmul-turned", "FusedMatMul", a, b, transB=1, alpha=0.5)
    case("matmul-turned-left", "FusedMatMul", floats(2, 4, 3), floats(4, 5), transA=1)
    case("matmul-batch", "FusedMatMul", floats(3, 2, 4), floats(4, 2, 5), transBatchA=1, transBatchB=1)
    case("matmul-both", "FusedMatMul", floats(4, 2, 3), floats(2, 4, 5), transBatchA=1, transA=1)
    gemm = (floats(3, 4), Fixed(floats(5, 4)), Fixed(floats(5)))
    case("gemm-relu", "FusedGemm", *gemm, transB=1, activation="Relu", beta=0.5, alpha=2.0)
    case("gemm-leaky", "FusedGemm", *gemm, transB=1, activation="LeakyRelu", activation_alpha=0.3)
    case("gemm-elu", "FusedGemm", *gemm, transB=1, activation="Elu", activation_alpha=0.7)
    case("gemm-selu", "FusedGemm", *gemm, transB=1, activation="Selu", activation_alpha=1.5, activation_gamma=0.7)
    case("gemm-hard", "FusedGemm", *gemm, transB=1, activation="HardSigmoid", activation_alpha=0.3, activation_beta=0.4)

    x, b = floats(2, 3, 6, low=-4, high=4), Fixed(floats(6))
    case("gelu", "Gelu", x)
    case("bias-gelu", "BiasGelu", x, b)
    case("fast-gelu", "FastGelu", x)
    case("fast-gelu-bias", "FastGelu", x, b)
    case("quick-gelu", "QuickGelu", x)
    case("quick-gelu-alpha", "QuickGelu", x, alpha=0.8)

    skip, g, bias = floats(2, 3, 6), Fixed(floats(6)), Fixed(floats(6))
    case("skip-norm", "SkipLayerNormalization", x, skip, g, b, epsilon=1e-5)
    case("skip-norm-bias", "SkipLayerNormalization", x, skip, g, b, bias, epsilon=1e-5, wanted=(0, 3))
    case("skip-norm-one", "SkipLayerNormalization", x, skip[:1], g, None, epsilon=1e-5)
    case("skip-simple", "SkipSimplifiedLayerNormalization", x, skip, g, epsilon=1e-5)
    case("skip-simple-bias", "SkipSimplifiedLayerNormalization", x, skip, g, bias, epsilon=1e-5, wanted=(0, 3))
    case("simple-norm", "SimplifiedLayerNormalization", x, g, domain="", epsilon=1e-5)

    ids, segments = whole(np.int32, 2, 4, low=0, high=9), whole(np.int32, 2, 4, low=0, high=1)
    tables = [Fixed(floats(10, 6)), Fixed(floats(5, 6)), Fixed(floats(2, 6)), g, b]
    mask = i32([[1, 1, 1, 0], [1, 1, 0, 0]])
    case("embed", "EmbedLayerNormalization", ids, segments, *tables, wanted=(0, 1), epsilon=1e-5)
    case("embed-mask", "EmbedLayerNormalization", ids, segments, *tables, mask, wanted=(0, 1, 2), epsilon=1e-5)
    places = whole(np.int32, 2, 4, low=0, high=4)
    none = [tables[0], tables[1], None, g, b]
    case("embed-places", "EmbedLayerNormalization", ids, None, *none, None, places, wanted=(0, 1), epsilon=1e-5)

    x = floats(2, 4, 6)
    w, b = Fixed(floats(6, 24, low=-0.6, high=0.6)), Fixed(floats(24))
    heads = dict(num_heads=2)
    case("attention", "Attention", x, w, b, **heads)
    case("attention-lengths", "Attention", x, w, b, i32([3, 2]), **heads)
    case("attention-spans", "Attention", x, w, b, i32([3, 4, 0, 2]), **heads)
    case("attention-mask", "Attention", x, w, b, mask, **heads)
    case("attention-square", "Attention", x, w, b, whole(np.int32, 2, 4, 4, low=0, high=1), **heads)
    case("attention-causal", "Attention", x, w, b, unidirectional=1, **heads)
    case("attention-scale", "Attention", x, w, b, mask, scale=0.7, mask_filter_value=-50.0, **heads)
    case("attention-bias", "Attention", x, w, b, None, None, floats(2, 2, 4, 4), **heads)
    past = floats(2, 2, 2, 3, 4)
    case("attention-past", "Attention", x, w, b, None, past, unidirectional=1, wanted=(0, 1), **heads)
    uneven = (Fixed(floats(6, 22)), Fixed(floats(22)))
    case("attention-uneven", "Attention", x, *uneven, qkv_hidden_sizes=[8, 8, 6], **heads)

    for directions, tag in ((1, ""), (2, "-both")):
        way = "bidirectional" if directions == 2 else "forward"
        x = floats(5, 2, 3)
        w, r = (Fixed(whole(np.int8, directions, n, 16, low=-64, high=63)) for n in (3, 4))
        scale, zero = Fixed(floats(directions, low=0.005, high=0.01)), Fixed(i8([2] * directions))
        per = Fixed(floats(directions, 16, low=0.005, high=0.01))
        none = Fixed(np.zeros((directions, 16), np.int8))
        b, h, c = Fixed(floats(directions, 32)), floats(directions, 2, 4), floats(directions, 2, 4)
        case(f"lstm{tag}", "DynamicQuantizeLSTM", x, w, r, b, None, None, None, None, scale, zero, scale, zero,
             hidden_size=4, direction=way, wanted=(0, 1, 2))  # fmt: skip
        case(f"lstm-gates{tag}", "DynamicQuantizeLSTM", x, w, r, b, None, h, c, None, per, none, per, none,
             hidden_size=4, direction=way, wanted=(0, 1, 2))  # fmt: skip

    boxes = floats(2, 12, 4, low=0, high=1)
    scores = floats(2, 3, 12, low=0, high=1)
    scores[0, 0, 5] = scores[0, 0, 2]
    limits = [Fixed(np.array([4], np.int64)), Fixed(f([0.3])), Fixed(f([0.2]))]
    case("boxes", "NonMaxSuppression", boxes, scores, *limits, domain="")
    case("boxes-centred", "NonMaxSuppression", boxes, scores, *limits, domain="", center_point_box=1)
    case("boxes-all", "NonMaxSuppression", boxes, scores, *limits[:2], domain="")

    graph = helper.make_graph(
        nodes, "operators", inputs, [helper.make_empty_tensor_value_info(n) for n in outputs], constants
    )
    model = helper.make_model(graph, opset_imports=opsets(17), ir_version=8)
    sess = session(model, OFF)
    given = {k[3:]: v for k, v in values.items()}
    names = [o.name for o in sess.get_outputs()]
    for name, value in zip(names, sess.run(names, given)):
        values[f"out:{name}"] = value
        known = helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
        next(o for o in graph.output if o.name == name).CopyFrom(known)
    del model.graph.output[:]
    model.graph.output.extend(graph.output)
    onnx.save(model, GOLDEN / "operators.onnx")
    np.savez_compressed(GOLDEN / "operators.npz", **values)
    print(f"{len(nodes)} cases, {len(names)} outputs")


# --- nets -----------------------------------------------------------------------------------------------------------


def opsets(version):
    return [helper.make_opsetid("", version), helper.make_opsetid(MICROSOFT, 1)]


def net(nodes, weights, shape, out, version=17):
    graph = helper.make_graph(
        nodes, "net", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", *shape])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", out])],
        [numpy_helper.from_array(v, k) for k, v in weights.items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=opsets(version), ir_version=8)


def normal(*shape):
    fan = int(np.prod(shape[1:])) if len(shape) > 1 else 4
    return (rng.normal(0, 1, shape) * np.sqrt(2 / fan)).astype(np.float32)


def convolutional():
    """A residual block, a gate by sigmoids, two kinds of pooling, parts joined: each has a quantised form."""
    node = helper.make_node
    w = {
        "aw": normal(6, 3, 3, 3), "ab": normal(6), "bw": normal(6, 6, 3, 3), "bb": normal(6), "cw": normal(6, 6, 1, 1),
        "cb": normal(6), "dw": normal(5, 12), "db": normal(5), "ew": normal(6, 6, 3, 3), "eb": normal(6),
    }  # fmt: skip
    pads = dict(kernel_shape=[3, 3], pads=[1] * 4)
    nodes = [
        node("Conv", ["x", "aw", "ab"], ["a0"], "a", **pads),
        node("Relu", ["a0"], ["a"], "a_relu"),
        node("Conv", ["a", "bw", "bb"], ["b0"], "b", **pads),
        node("Add", ["a", "b0"], ["b1"], "sum"),
        node("Relu", ["b1"], ["b"], "b_relu"),
        node("Conv", ["b", "cw", "cb"], ["c0"], "c", kernel_shape=[1, 1]),
        node("Sigmoid", ["c0"], ["c1"], "gate"),
        node("Mul", ["b", "c1"], ["c"], "gated"),
        node("AveragePool", ["c"], ["d0"], "average", kernel_shape=[2, 2], strides=[2, 2]),
        node("Conv", ["d0", "ew", "eb"], ["d1"], "e", **pads),
        node("LeakyRelu", ["d1"], ["d"], "leaky", alpha=0.1),
        node("Concat", ["d", "d0"], ["e"], "joined", axis=1),
        node("GlobalAveragePool", ["e"], ["g"], "all"),
        node("Flatten", ["g"], ["h"], "flat"),
        node("Gemm", ["h", "dw", "db"], ["y"], "head", transB=1),
    ]
    return net(nodes, w, [3, 8, 8], 5)


class Calibration(CalibrationDataReader):
    def __init__(self, x):
        self.batches = iter([{"x": x[i : i + 32]} for i in range(0, len(x), 32)])

    def get_next(self):
        return next(self.batches, None)


def static(model, x, form, kind, per_channel, fixed=False):
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
        onnx.save(model, source)
        quantize_static(
            str(source), str(target), Calibration(x), quant_format=form, per_channel=per_channel, reduce_range=True,
            activation_type=kind, weight_type=QuantType.QInt8,
        )  # fmt: skip
        model = onnx.load(target)
    if fixed:
        for value in (*model.graph.input, *model.graph.output):
            value.type.tensor_type.shape.dim[0].dim_value = 1
    return model


def transformer():
    """Two layers as exporters write them, node by node: the optimiser finds what to fuse."""
    node = helper.make_node
    width, heads, length = 12, 3, 5
    w = {"zero": f(0.0), "half": f(0.5), "one": f(1.0), "root": f(np.sqrt(2)), "scale": f(np.sqrt(width / heads))}
    w["split"] = np.array([0, length, heads, width // heads], np.int64)
    w["joined"] = np.array([0, length, width], np.int64)
    w["first"] = np.array(0, np.int64)
    nodes, x = [], "x"
    for i in range(2):
        p = lambda n: f"{n}{i}"  # noqa: E731
        for n in "qkvo":
            w[p(f"{n}w")], w[p(f"{n}b")] = normal(width, width), normal(width)
        for n in ("n", "m"):
            w[p(f"{n}g")], w[p(f"{n}b")] = floats(width, low=0.5, high=1.5), floats(width)
        w[p("uw")], w[p("ub")], w[p("dw")], w[p("db")] = normal(width, 24), normal(24), normal(24, width), normal(width)
        for n in "qkv":
            nodes += [
                node("MatMul", [x, p(f"{n}w")], [p(f"{n}0")]), node("Add", [p(f"{n}b"), p(f"{n}0")], [p(f"{n}1")]),
                node("Reshape", [p(f"{n}1"), "split"], [p(f"{n}2")]),
                node("Transpose", [p(f"{n}2")], [p(n)], perm=[0, 2, 3, 1] if n == "k" else [0, 2, 1, 3]),
            ]  # fmt: skip
        nodes += [
            node("MatMul", [p("q"), p("k")], [p("s0")]), node("Div", [p("s0"), "scale"], [p("s1")]),
            node("Softmax", [p("s1")], [p("s")], axis=-1), node("MatMul", [p("s"), p("v")], [p("t0")]),
            node("Transpose", [p("t0")], [p("t1")], perm=[0, 2, 1, 3]), node("Reshape", [p("t1"), "joined"], [p("t2")]),
            node("MatMul", [p("t2"), p("ow")], [p("t3")]), node("Add", [p("ob"), p("t3")], [p("t")]),
            node("Add", [p("t"), x], [p("r0")]),
            node("LayerNormalization", [p("r0"), p("ng"), p("nb")], [p("r")], axis=-1, epsilon=1e-5),
            node("MatMul", [p("r"), p("uw")], [p("u0")]), node("Add", [p("ub"), p("u0")], [p("u1")]),
            node("Div", [p("u1"), "root"], [p("u2")]), node("Erf", [p("u2")], [p("u3")]),
            node("Add", [p("u3"), "one"], [p("u4")]), node("Mul", [p("u1"), p("u4")], [p("u5")]),
            node("Mul", [p("u5"), "half"], [p("u")]),
            node("MatMul", [p("u"), p("dw")], [p("d0")]), node("Add", [p("db"), p("d0")], [p("d")]),
            node("Add", [p("d"), p("r")], [p("m0")]),
            node("LayerNormalization", [p("m0"), p("mg"), p("mb")], [p("z")], axis=-1, epsilon=1e-5),
        ]  # fmt: skip
        x = p("z")
    w["hw"], w["hb"] = normal(width, 4), normal(4)
    nodes += [
        node("Gather", [x, "first"], ["c"], axis=1), node("Gemm", ["c", "hw", "hb"], ["y"]),
    ]  # fmt: skip
    return net(nodes, w, [length, width], 4)


def optimised(model):
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "optimised.onnx"
        session(model, EXTENDED, target)
        return onnx.load(target)


def save(name, model, x, level, **options):
    y = session(model, level, **options).run(["y"], {"x": x})[0]
    onnx.save(model, GOLDEN / f"{name}.onnx")
    np.savez_compressed(GOLDEN / f"{name}.npz", **{"in:x": x, "out:y": y})
    own = sorted({n.op_type for n in model.graph.node if n.domain == MICROSOFT})
    print(name, ", ".join(own), f"largest {np.abs(y).max():.2f}")


def telling(model, rows, **options):
    """Samples for which real numbers, as the file has them, and onnxruntime's whole numbers come to different scores,
    and as many others."""
    x = floats(4000, 3, 8, 8, low=0, high=1)
    real, own = (session(model, level, **options).run(["y"], {"x": x})[0] for level in (OFF, ALL))
    differs = (real != own).any(1)
    assert differs.sum() >= rows // 2, differs.sum()
    return np.concatenate([x[differs][: rows // 2], x[~differs][: rows // 2]])


def main():
    GOLDEN.mkdir(exist_ok=True)
    operators()
    model, x = convolutional(), floats(128, 3, 8, 8, low=0, high=1)
    onnx.checker.check_model(model)
    for kind, per, tag in ((QuantType.QUInt8, True, "u8"), (QuantType.QInt8, False, "i8")):
        save(f"qoperator-{tag}", static(model, x, QuantFormat.QOperator, kind, per), x[:16], ALL)
    qdq = static(model, x, QuantFormat.QDQ, QuantType.QUInt8, True)
    save("qdq-u8", qdq, telling(qdq, 16), ALL)
    one = static(model, x, QuantFormat.QOperator, QuantType.QUInt8, True, fixed=True)
    onnx.save(one, GOLDEN / "qoperator-u8-one.onnx")
    onnx.save(static(model, x, QuantFormat.QDQ, QuantType.QUInt8, True, fixed=True), GOLDEN / "qdq-u8-one.onnx")
    save("optimised-conv", optimised(model), x[:16], OFF)
    save("optimised-transformer", optimised(transformer()), floats(16, 5, 12), OFF)
    qdq = static(model, x, QuantFormat.QDQ, QuantType.QInt8, True)
    save("qdq-i8", qdq, telling(qdq, 16, int8=True), ALL, int8=True)


if __name__ == "__main__":
    main()
