"""Gradients of whole models from PyTorch in double precision, for the Rust test that compares them.

    python tests/peers/torch_gradients.py

Reads models of `$PROOFMARK_DATA` (default `../shared/data`) through onnx2torch and writes to
`$PROOFMARK_PEER_GRADIENTS` (default `target/peer-gradients`) one `MODEL.npz` each, named as the model's path in the
data with `/` replaced by `__`, four samples in each:

| array | what |
|---|---|
| `x` | f32, as the model declares its input, samples first |
| `scores` | f64 `[n, classes]`: the output; where the model ends in Softmax, what goes into that Softmax |
| `gradient` | f64, as `x`: of sum_ij w_ij scores_ij, with w_ij = 0.5 + frac((i C + j + 1) 0.754877666246693) |
| `output`, `output_gradient` | the same for the declared output, whatever it ends in |
| `single` | f64, one number: by how much PyTorch's own single precision is off the gradient, relative to its largest |

Scores before a softmax because those are what an attack climbs: behind it the gradient of a confident sample is zero
in single precision. Samples are computed one at a time, so a fixed batch of one does not matter.
"""

import os
import sys
from pathlib import Path

try:
    import numpy as np
    import onnx
    import onnx.version_converter
    import torch
    from onnx2torch import convert

    import common
    import zoo
except ImportError as e:
    print(f"SKIPPED: {e}; needs numpy, onnx, onnxruntime, onnx2torch and torch")
    sys.exit(0)

ROWS = 4
MODELS = [
    "backdoor/badnet_cifar10_backdoored.onnx",
    "backdoor/badnet_mnist_backdoored.onnx",
    "backdoor/nad_wrn16_1_backdoored.onnx",
    "models/marabou_cnn_max_mnist3.onnx",
    "models/marabou_mnist5x20_leaky_relu.onnx",
    "models/marabou_robust_sigmoid_linear.onnx",
    "models/marabou_self_attention_mnist_pgd.onnx",
    "models/marabou_tanh_test.onnx",
    "models/mlperf_tiny_kws_dscnn.onnx",
    "models/mlperf_tiny_resnet8_cifar10.onnx",
    "models/mlperf_tiny_vww_mobilenet96.onnx",
    "models/mnist8_zoo_optimised.onnx",
    "models/mnist_burn_example.onnx",
    "vnn/acasxu/onnx/ACASXU_run2a_1_1_batch_2000.onnx",
    "vnn/marabou_cifar10/onnx/cifar10_small.onnx",
    "vnn/mnist_fc/onnx/mnist-net_256x2.onnx",
    "vnn/oval21/onnx/cifar_base_kw.onnx",
    "vnn/oval21/onnx/cifar_deep_kw.onnx",
    "vnn/rl_benchmarks/onnx/cartpole.onnx",
    "vnn/verivital/onnx/Convnet_avgpool.onnx",
    "vnn/verivital/onnx/Convnet_maxpool.onnx",
]


def images(data, path, shape, rng):
    """Four samples; real digits where the model reads digits, noise in its range where not.

    A little noise on the digits, too: a flat background ties under a max pool, and a tie has no one gradient."""
    file = data / "datasets" / "eran100" / "mnist_test.csv"
    if np.prod(shape) == 784 and file.is_file() and "vnn" not in path.parts:
        pixels = np.loadtxt(file, delimiter=",")[:ROWS, 1:].reshape(ROWS, *shape)
        low, high = zoo.about(zoo.RANGES, path, (0, 1))
        pixels = pixels / 255 * 0.95 + 0.05 * rng.random(pixels.shape)
        return (low + (high - low) * pixels).astype(np.float32)
    return zoo.inputs(data, path, shape, ROWS, rng)


def before_softmax(model):
    """The same model, its output what goes into the Softmax that makes it; None if it is made otherwise."""
    (output,) = model.graph.output
    last = next(n for n in model.graph.node if output.name in n.output)
    if last.op_type != "Softmax":
        return None
    cut = onnx.ModelProto()
    cut.CopyFrom(model)
    cut.graph.node.remove(next(n for n in cut.graph.node if output.name in n.output))
    cut.graph.output[0].name = last.input[0]
    return cut


def prepared(model):
    """The same model in what onnx2torch knows: weights are no inputs, none is quantised, no padding is worked out,
    operators are at least those of opset 9."""
    model = onnx.version_converter.convert_version(model, 9) if model.opset_import[0].version < 9 else model
    known = {i.name: i for i in model.graph.initializer}
    for extra in [i for i in model.graph.input if i.name in known]:
        model.graph.input.remove(extra)
    for node in [n for n in model.graph.node if n.op_type == "DequantizeLinear"]:
        value, scale, zero = (onnx.numpy_helper.to_array(known[n]) for n in node.input)
        assert scale.size == 1
        value = (value.astype(np.float32) - np.float32(zero)) * scale.reshape(())
        model.graph.initializer.append(onnx.numpy_helper.from_array(value.astype(np.float32), node.output[0]))
        model.graph.node.remove(node)
    for node in model.graph.node:
        pad = next((a for a in node.attribute if a.name == "auto_pad" and a.s == b"SAME_UPPER"), None)
        if pad is not None:
            about = {a.name: list(a.ints) for a in node.attribute}
            assert set(about.get("strides", [1])) == set(about.get("dilations", [1])) == {1}, node.name
            node.attribute.remove(pad)
            for old in [a for a in node.attribute if a.name == "pads"]:
                node.attribute.remove(old)
            ends = [(k - 1) // 2 for k in about["kernel_shape"]] + [k // 2 for k in about["kernel_shape"]]
            node.attribute.append(onnx.helper.make_attribute("pads", ends))
    return model


def doubled(model):
    """Converted to PyTorch, in double precision: float constants of the graph, too."""
    net = convert(model).double().eval()
    for module in net.modules():
        for name, value in vars(module).items():
            if isinstance(value, torch.Tensor) and value.dtype == torch.float32:
                setattr(module, name, value.double())
    return net


def gradient(model, x, kind=torch.float64):
    """Scores and gradient of the objective, sample by sample."""
    net = doubled(model) if kind == torch.float64 else convert(model).eval()
    scores, gradients = [], []
    for i in range(len(x)):
        one = torch.from_numpy(x[i : i + 1]).to(kind).requires_grad_()
        y = net(one).reshape(1, -1)
        assert y.dtype == kind
        weights = torch.from_numpy(common.objective_weights(len(x), y.shape[1])[i : i + 1])
        gradients.append(torch.autograd.grad((y * weights).sum(), one)[0].numpy())
        scores.append(y.detach().numpy())
    return np.concatenate(scores), np.concatenate(gradients)


def one(data, name, target):
    """One model; returns a line about it."""
    path = data / name
    sess = common.session(path)
    (given,) = sess.get_inputs()
    model = prepared(onnx.load(str(path)))
    x = images(data, path, zoo.sample_shape(path, given.shape), np.random.default_rng(sum(name.encode())))
    output, output_gradient = gradient(model, x)
    wanted = next(iter(common.run(sess, {given.name: x}).values()))
    error = np.abs(output - wanted.reshape(output.shape)).max() / np.abs(output).max()
    assert error < 1e-4, f"PyTorch and onnxruntime differ by {error:.1e}"
    cut = before_softmax(model)
    scores, grad = gradient(cut, x) if cut is not None else (output, output_gradient)
    assert np.isfinite(grad).all() and np.abs(grad).max() > 0
    single = np.abs(gradient(model if cut is None else cut, x, torch.float32)[1] - grad).max() / np.abs(grad).max()
    arrays = {
        "x": x, "scores": scores, "gradient": grad, "output": output, "output_gradient": output_gradient,
        "single": np.array([single]),
    }  # fmt: skip
    np.savez(target / (name.replace("/", "__") + ".npz"), **arrays)
    ending = " before the Softmax" if cut is not None else ""
    return f"{name}: x {list(x.shape)}, scores {list(scores.shape)}{ending}, largest gradient {np.abs(grad).max():.3g} ({single:.0e} off in single precision), from onnxruntime {error:.1e}"


def main():
    data = zoo.data_folder()
    if data is None:
        print("SKIPPED: no ../shared/data or $PROOFMARK_DATA")
        return 0
    target = Path(os.environ.get("PROOFMARK_PEER_GRADIENTS", zoo.ROOT / "target" / "peer-gradients"))
    target.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    failed = 0
    for name in MODELS:
        try:
            print(one(data, name, target), flush=True)
        except Exception as e:  # the others are still written
            failed += 1
            (target / (name.replace("/", "__") + ".npz")).unlink(missing_ok=True)
            print(f"FAILED {name}: {type(e).__name__}: {str(e)[:300]}", flush=True)
    print(f"{len(MODELS) - failed} of {len(MODELS)} written to {target}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
