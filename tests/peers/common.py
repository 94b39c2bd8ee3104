"""What the peers share: the objective, onnxruntime run sample by sample, inputs that fit a model."""

import numpy as np
import onnx
import onnxruntime as ort

FLOATS = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64}
INTS = {"tensor(int64)": np.int64, "tensor(int32)": np.int32}


def objective_weights(rows, columns):
    """Weights of the objective whose gradient is compared: 0.5 + frac((i * columns + j + 1) * 0.754877666246693).

    Fixed, all different, none near zero: no output can cancel another, no row can stand in for another.
    """
    k = np.arange(1, rows * columns + 1, dtype=np.float64).reshape(rows, columns)
    return 0.5 + np.modf(k * 0.754877666246693)[0]


def session(path):
    """onnxruntime as a reference: no graph optimisation, so quantised models are what their nodes say
    (fused integer kernels saturate differently from processor to processor), one thread."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def fixed_batch(sess, fixed=()):
    """The number of samples that the file fixes, or None where it leaves it open."""
    for i in sess.get_inputs():
        if i.name not in fixed and i.shape and isinstance(i.shape[0], int):
            return i.shape[0]
    return None


def run(sess, inputs, fixed=None, together=False):
    """Outputs for all samples, by name. One by one unless `together`: what a sample gives may not depend on its
    neighbours, so one by one is the truth and together has to agree with it."""
    fixed = fixed or {}
    names = [o.name for o in sess.get_outputs()]
    rows = len(next(iter(inputs.values())))
    if together:
        return dict(zip(names, sess.run(names, {**inputs, **fixed})))
    parts = [sess.run(names, {**{k: v[i : i + 1] for k, v in inputs.items()}, **fixed}) for i in range(rows)]
    return {n: np.concatenate([p[at] for p in parts]) for at, n in enumerate(names)}


def least_gap(path, inputs):
    """Per sample, how near any value comes to a tie when it is quantised, in quanta (0.5: as far as can be).

    Rounding errors of 1e-6 push a value over a tie now and then, and the output moves by a whole quantum: samples
    with a wide gap have one right answer. None where nothing is quantised at run time.
    """
    model = onnx.load(str(path))
    known = {i.name: onnx.numpy_helper.to_array(i) for i in model.graph.initializer}
    nodes = [n for n in model.graph.node if n.op_type == "QuantizeLinear" and n.input[0] not in known]
    if not nodes:
        return None
    graph_inputs = {i.name for i in model.graph.input}
    for n in nodes:
        if n.input[0] not in graph_inputs:
            model.graph.output.append(onnx.helper.make_empty_tensor_value_info(n.input[0]))
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    sess = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [o.name for o in sess.get_outputs()]
    rows = len(next(iter(inputs.values())))
    gaps = np.full(rows, 0.5)
    for i in range(rows):
        one = {k: v[i : i + 1] for k, v in inputs.items()}
        seen = {**dict(zip(names, sess.run(names, one))), **one}
        for n in nodes:
            quanta = seen[n.input[0]].astype(np.float64) / known[n.input[1]]
            gaps[i] = min(gaps[i], np.abs(quanta - np.floor(quanta) - 0.5).min())
    return gaps
