//! Operators that compute: convolutions, normalisations, products and reductions.

use proofmark_onnx::writer::Attr;

use crate::common::{More, ints, net, one_by_one, together};

#[test]
fn convolutions_and_pools_take_samples_along_the_first_axis() {
    let bytes = net(&[1, 2, 6, 6])
        .weight("w", &[4, 2, 3, 3])
        .weight("scale", &[4])
        .weight("bias", &[4])
        .integers("sizes", &[1, 4, 8, 8])
        .integers("list", &[1, -1])
        .node("Conv", &["x", "w"], &["a"], &[])
        .node(
            "InstanceNormalization",
            &["a", "scale", "bias"],
            &["b"],
            &[],
        )
        .node("Resize", &["b", "", "", "sizes"], &["c"], &[])
        .node(
            "MaxPool",
            &["c"],
            &["d"],
            &[("kernel_shape", ints(&[2, 2]))],
        )
        .node("Reshape", &["d", "list"], &["y"], &[])
        .output("y")
        .bytes();
    // Resize and Reshape get new sizes.
    assert_eq!(together(&bytes, &[2, 6, 6]), 2);
    let bytes = net(&[1, 2, 6, 6])
        .weight("w", &[1, 1, 3, 3])
        .node(
            "Transpose",
            &["x"],
            &["t"],
            &[("perm", ints(&[1, 0, 2, 3]))],
        )
        .node("Conv", &["t", "w"], &["y"], &[])
        .output("y")
        .bytes();
    one_by_one(&bytes, &[2, 6, 6], "samples lie along axis 1; expected 0");
}

#[test]
fn operators_along_one_axis_need_the_samples_on_another() {
    for (op, attributes) in [
        ("Softmax", vec![("axis", Attr::Int(-1))]),
        ("LogSoftmax", vec![("axis", Attr::Int(1))]),
        ("LpNormalization", vec![("axis", Attr::Int(2))]),
    ] {
        let bytes = net(&[1, 3, 4])
            .node(op, &["x"], &["y"], &attributes)
            .output("y")
            .bytes();
        assert_eq!(together(&bytes, &[3, 4]), 0);
        let bytes = net(&[1, 3, 4])
            .node(op, &["x"], &["y"], &[("axis", Attr::Int(0))])
            .output("y")
            .bytes();
        one_by_one(&bytes, &[3, 4], "it mixes along axis 0");
    }
    let norm = |axis: i64| {
        net(&[1, 3, 4])
            .weight("s", &[4])
            .node(
                "LayerNormalization",
                &["x", "s"],
                &["y"],
                &[("axis", Attr::Int(axis))],
            )
            .output("y")
            .bytes()
    };
    together(&norm(1), &[3, 4]);
    // From axis 0 on, it normalises over everything.
    one_by_one(&norm(0), &[3, 4], "it mixes along axis 0");
    let sum = |axis: i64| {
        net(&[1, 3, 4])
            .integers("axis", &[axis])
            .node("CumSum", &["x", "axis"], &["y"], &[])
            .output("y")
            .bytes()
    };
    together(&sum(1), &[3, 4]);
    one_by_one(&sum(0), &[3, 4], "it mixes along axis 0");
    let top = net(&[1, 3, 4])
        .integers("k", &[2])
        .node("TopK", &["x", "k"], &["y", "i"], &[])
        .output("y")
        .bytes();
    together(&top, &[3, 4]);
}

#[test]
fn constants_broadcast_over_samples() {
    for shape in [&[1, 3, 4][..], &[3, 1], &[4], &[1]] {
        let bytes = net(&[1, 3, 4])
            .weight("c", shape)
            .node("Mul", &["x", "c"], &["a"], &[])
            .node("Sub", &["a", "x"], &["y"], &[])
            .output("y")
            .bytes();
        assert_eq!(together(&bytes, &[3, 4]), 0);
    }
    let bytes = net(&[1, 3, 4])
        .weight("c", &[2, 3, 4])
        .node("Mul", &["x", "c"], &["y"], &[])
        .output("y")
        .bytes();
    one_by_one(
        &bytes,
        &[3, 4],
        "a constant differs along the axis of the samples",
    );
    // [1, 3, 3] and [3, 1, 3]: one has the samples along the first axis, the other along the second.
    let bytes = net(&[1, 3, 3])
        .node("Transpose", &["x"], &["t"], &[("perm", ints(&[1, 0, 2]))])
        .node("Add", &["x", "t"], &["y"], &[])
        .output("y")
        .bytes();
    one_by_one(&bytes, &[3, 3], "along different axes");
}

#[test]
fn matrices_are_multiplied_for_each_sample() {
    for (left, right, shape) in [
        ("x", "w", &[4, 2][..]),
        ("w", "x", &[2, 3]),
        ("w", "x", &[1, 2, 3]),
        ("x", "w", &[4]),
        ("w", "x", &[3]),
        ("x", "t", &[1]),
    ] {
        let bytes = net(&[1, 3, 4])
            .weight("w", shape)
            .node("Transpose", &["x"], &["t"], &[("perm", ints(&[0, 2, 1]))])
            .node("MatMul", &[left, right], &["y"], &[])
            .output("y")
            .bytes();
        assert_eq!(together(&bytes, &[3, 4]), 0);
    }
    let turned = |op: &str, left: &str, right: &str, shape: &[i64], perm: &[i64]| {
        net(&[1, 3])
            .weight("w", shape)
            .node("Transpose", &["x"], &["t"], &[("perm", ints(perm))])
            .node(op, &[left, right], &["y"], &[])
            .output("y")
            .bytes()
    };
    // [3, 1] times [1, 2] sums over the samples.
    let summed = "it sums over the axis of the samples";
    one_by_one(&turned("MatMul", "t", "w", &[1, 2], &[1, 0]), &[3], summed);
    one_by_one(&turned("MatMul", "w", "x", &[2, 1], &[1, 0]), &[3], summed);
    one_by_one(&turned("MatMul", "t", "w", &[1], &[1, 0]), &[3], summed);
    one_by_one(&turned("Gemm", "t", "w", &[1, 2], &[1, 0]), &[3], summed);
    // [3, 1] multiplied from the left by a constant keeps the samples as columns.
    together(&turned("MatMul", "w", "t", &[2, 3], &[1, 0]), &[3]);
    let bytes = net(&[1, 3, 4])
        .weight("w", &[2, 4, 5])
        .node("MatMul", &["x", "w"], &["y"], &[])
        .output("y")
        .bytes();
    one_by_one(
        &bytes,
        &[3, 4],
        "a constant matrix differs along the axis of the samples",
    );
    for (transposed, bias) in [(0, &[1, 2][..]), (1, &[2])] {
        let perm = if transposed == 1 { [1, 0] } else { [0, 1] };
        let bytes = net(&[1, 3])
            .weight("w", &[3, 2])
            .weight("b", bias)
            .node("Transpose", &["x"], &["t"], &[("perm", ints(&perm))])
            .node(
                "Gemm",
                &["t", "w", "b"],
                &["y"],
                &[("transA", Attr::Int(transposed))],
            )
            .output("y")
            .bytes();
        together(&bytes, &[3]);
    }
}

#[test]
fn einsum_keeps_the_index_of_the_samples() {
    let einsum = |equation: &'static str, second: &str, shape: &[i64]| {
        net(&[1, 3, 4])
            .weight("w", shape)
            .node(
                "Einsum",
                &["x", second],
                &["y"],
                &[("equation", Attr::Text(equation))],
            )
            .output("y")
            .bytes()
    };
    for (equation, second, shape) in [
        ("bij,jk->bik", "w", &[4, 2][..]),
        ("bij,jk->kib", "w", &[4, 2]),
        ("bij,bkj->bik", "x", &[1]),
        ("bij,ij", "w", &[3, 4]),
        ("bij,bij->b", "x", &[1]),
        ("...ij,jk->...ik", "w", &[4, 2]),
        ("bij,bjk->bik", "w", &[1, 4, 2]),
    ] {
        assert_eq!(together(&einsum(equation, second, shape), &[3, 4]), 0);
    }
    let refused = |equation, second, shape: &[i64], why: &str| {
        one_by_one(&einsum(equation, second, shape), &[3, 4], why);
    };
    refused(
        "bij,jk->ik",
        "w",
        &[4, 2],
        "it sums over the axis of the samples",
    );
    refused("bij,aij->ij", "x", &[1], "along different indices");
    refused("bij,bjk->bik", "w", &[2, 4, 2], "a constant differs");
}

#[test]
fn reductions_must_not_cover_the_sample_axis() {
    for (axes, keep) in [(&[1][..], 0), (&[-1], 1), (&[1, 2], 0)] {
        let bytes = net(&[1, 3, 4])
            .integers("axes", axes)
            .node("Transpose", &["x"], &["t"], &[("perm", ints(&[0, 2, 1]))])
            .node(
                "ReduceMean",
                &["t", "axes"],
                &["y"],
                &[("keepdims", Attr::Int(keep))],
            )
            .output("y")
            .bytes();
        assert_eq!(together(&bytes, &[3, 4]), 0);
    }
    let bytes = net(&[1, 3, 4])
        .node("Transpose", &["x"], &["t"], &[("perm", ints(&[1, 0, 2]))])
        .node(
            "ArgMax",
            &["t"],
            &["y"],
            &[("axis", Attr::Int(0)), ("keepdims", Attr::Int(0))],
        )
        .output("y")
        .bytes();
    together(&bytes, &[3, 4]);
    let bytes = net(&[1, 3, 4])
        .integers("axes", &[0])
        .node("ReduceMean", &["x", "axes"], &["y"], &[])
        .output("y")
        .bytes();
    one_by_one(&bytes, &[3, 4], "it takes the samples together");
    let bytes = net(&[1, 3, 4])
        .node("ReduceMean", &["x"], &["y"], &[])
        .output("y")
        .bytes();
    one_by_one(&bytes, &[3, 4], "it takes all elements together");
}
