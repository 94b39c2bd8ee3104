//! Operators that move, join, cut or repeat values.

use proofmark_onnx::writer::Attr;

use crate::common::{More, ints, net, one_by_one, together};

#[test]
fn samples_follow_transposes_and_reshapes() {
    // Attention with the sequence first: [T, 1, D] becomes [T, D], then [T, 1, D] again; the heads are split off D and
    // put on the sample axis, and back.
    let perm = |list: &[i64]| [("perm", ints(list))];
    let bytes = net(&[1, 3, 4])
        .weight("w", &[4, 4])
        .weight("v", &[4, 2])
        .integers("rows", &[3, 4])
        .integers("sequence", &[3, 1, 4])
        .integers("heads", &[3, 2, 2])
        .node("Transpose", &["x"], &["a"], &perm(&[1, 0, 2]))
        .node("Reshape", &["a", "rows"], &["b"], &[])
        .node("Gemm", &["b", "w"], &["c"], &[])
        .node("Reshape", &["c", "sequence"], &["d"], &[])
        .node("Reshape", &["d", "heads"], &["e"], &[])
        .node("Transpose", &["e"], &["q"], &perm(&[1, 0, 2]))
        .node("Transpose", &["e"], &["k"], &perm(&[1, 2, 0]))
        .node("MatMul", &["q", "k"], &["s"], &[])
        .node("Softmax", &["s"], &["p"], &[("axis", Attr::Int(-1))])
        .node("MatMul", &["p", "q"], &["f"], &[])
        .node("Transpose", &["f"], &["g"], &perm(&[1, 0, 2]))
        .node("Reshape", &["g", "rows"], &["h"], &[])
        .node("Gemm", &["h", "v"], &["y"], &[])
        .output("y")
        .bytes();
    assert_eq!(together(&bytes, &[3, 4]), 4);
    for (shape, order) in [
        (&[1, 12][..], &[0, 1, 2][..]),
        (&[0, -1], &[0, 1, 2]),
        (&[12], &[0, 1, 2]),
        (&[2, 2, 3], &[0, 1, 2]),
        (&[3, 4], &[1, 0, 2]),
        (&[-1, 2], &[1, 0, 2]),
        (&[3, 1, 2, 2], &[1, 2, 0]),
        (&[12], &[1, 2, 0]),
        (&[6, 2], &[1, 0, 2]),
    ] {
        let bytes = net(&[1, 3, 4])
            .integers("list", shape)
            .node("Transpose", &["x"], &["t"], &perm(order))
            .node("Reshape", &["t", "list"], &["y"], &[])
            .output("y")
            .bytes();
        assert_eq!(together(&bytes, &[3, 4]), 1, "{shape:?} {order:?}");
    }
    let bytes = net(&[1, 3, 4])
        .integers("list", &[2, 6])
        .node("Transpose", &["x"], &["t"], &perm(&[1, 0, 2]))
        .node("Reshape", &["t", "list"], &["y"], &[])
        .output("y")
        .bytes();
    one_by_one(&bytes, &[3, 4], "it cuts across the samples");
}

#[test]
fn another_reading_of_a_reshape_is_tried() {
    // [3, 1, 4] to [3, 2, 2] might put heads on the sample axis; a constant with one value per head rules that out.
    let bytes = net(&[1, 3, 4])
        .weight("c", &[2, 2])
        .integers("heads", &[3, 2, 2])
        .node("Transpose", &["x"], &["t"], &[("perm", ints(&[1, 0, 2]))])
        .node("Reshape", &["t", "heads"], &["h"], &[])
        .node("Add", &["h", "c"], &["y"], &[])
        .output("y")
        .bytes();
    assert_eq!(together(&bytes, &[3, 4]), 1);
    // If no reading works, the problem of the likeliest one is reported.
    let bytes = net(&[1, 3, 4])
        .weight("c", &[3, 2, 2])
        .integers("heads", &[3, 2, 2])
        .node("Transpose", &["x"], &["t"], &[("perm", ints(&[1, 0, 2]))])
        .node("Reshape", &["t", "heads"], &["h"], &[])
        .node("Add", &["h", "c"], &["y"], &[])
        .output("y")
        .bytes();
    one_by_one(
        &bytes,
        &[3, 4],
        "a constant differs along the axis of the samples",
    );
}

#[test]
fn samples_follow_flatten_squeeze_and_unsqueeze() {
    for axis in [0, 1, 2, 3] {
        let bytes = net(&[1, 3, 4])
            .node("Flatten", &["x"], &["y"], &[("axis", Attr::Int(axis))])
            .output("y")
            .bytes();
        assert_eq!(together(&bytes, &[3, 4]), 0);
        let bytes = net(&[1, 3, 4])
            .node("Transpose", &["x"], &["t"], &[("perm", ints(&[1, 0, 2]))])
            .node("Flatten", &["t"], &["y"], &[("axis", Attr::Int(axis))])
            .output("y")
            .bytes();
        assert_eq!(together(&bytes, &[3, 4]), 0);
    }
    let bytes = net(&[1, 3, 4])
        .integers("front", &[0, 2])
        .node("Unsqueeze", &["x", "front"], &["a"], &[])
        .node("Softmax", &["a"], &["b"], &[])
        .node("Squeeze", &["b", "front"], &["y"], &[])
        .output("y")
        .bytes();
    together(&bytes, &[3, 4]);
    let squeezed = |axes: &[&str]| {
        net(&[1, 1, 4])
            .integers("zero", &[0])
            .node("Squeeze", axes, &["y"], &[])
            .output("y")
            .bytes()
    };
    one_by_one(
        &squeezed(&["x", "zero"]),
        &[1, 4],
        "it drops the axis of the samples",
    );
    one_by_one(&squeezed(&["x"]), &[1, 4], "it drops whatever has length 1");
}

#[test]
fn samples_follow_concat_slice_split_and_gather() {
    let bytes = net(&[1, 3, 4])
        .weight("token", &[1, 1, 4])
        .node("Concat", &["token", "x"], &["y"], &[("axis", Attr::Int(1))])
        .output("y")
        .bytes();
    assert_eq!(together(&bytes, &[3, 4]), 1);
    let bytes = net(&[1, 3, 4])
        .weight("token", &[1, 3, 4])
        .node("Concat", &["token", "x"], &["y"], &[("axis", Attr::Int(0))])
        .output("y")
        .bytes();
    one_by_one(&bytes, &[3, 4], "it joins along the axis of the samples");
    // With heads on the sample axis, the constant would have to be repeated in blocks.
    let bytes = net(&[1, 3, 4])
        .weight("token", &[3, 1])
        .integers("list", &[3, 4])
        .node("Reshape", &["x", "list"], &["r"], &[])
        .node("Concat", &["token", "r"], &["y"], &[("axis", Attr::Int(1))])
        .output("y")
        .bytes();
    one_by_one(&bytes, &[3, 4], "repeated in blocks");
    let sliced = |axis: i64, start: i64, end: i64| {
        net(&[1, 3, 4])
            .integers("start", &[start])
            .integers("end", &[end])
            .integers("axis", &[axis])
            .node("Slice", &["x", "start", "end", "axis"], &["y"], &[])
            .output("y")
            .bytes()
    };
    together(&sliced(1, 1, 3), &[3, 4]);
    together(&sliced(0, 0, i64::MAX), &[3, 4]);
    one_by_one(
        &sliced(0, 0, 1),
        &[3, 4],
        "it cuts along the axis of the samples",
    );
    for (axis, refused) in [(2, None), (0, Some("it splits along the axis"))] {
        let bytes = net(&[1, 3, 4])
            .integers("parts", if axis == 0 { &[1] } else { &[1, 3] })
            .node(
                "Split",
                &["x", "parts"],
                if axis == 0 { &["y"] } else { &["z", "y"] },
                &[("axis", Attr::Int(axis))],
            )
            .output("y")
            .bytes();
        match refused {
            None => assert_eq!(together(&bytes, &[3, 4]), 0),
            Some(why) => one_by_one(&bytes, &[3, 4], why),
        }
    }
    for (axis, refused) in [(2, None), (1, None), (0, Some("it picks along the axis"))] {
        let bytes = net(&[1, 3, 4])
            .integers("places", if axis == 0 { &[0] } else { &[2, 0] })
            .node(
                "Gather",
                &["x", "places"],
                &["y"],
                &[("axis", Attr::Int(axis))],
            )
            .output("y")
            .bytes();
        match refused {
            None => assert_eq!(together(&bytes, &[3, 4]), 0),
            Some(why) => one_by_one(&bytes, &[3, 4], why),
        }
    }
    // Rows of a table, selected by the sample.
    let bytes = net(&[1, 3])
        .weight("table", &[4, 2])
        .node("ArgMax", &["x"], &["i"], &[("axis", Attr::Int(1))])
        .node("Gather", &["table", "i"], &["y"], &[])
        .output("y")
        .bytes();
    together(&bytes, &[3]);
}

#[test]
fn samples_follow_pad_expand_tile_and_trilu() {
    let padded = |pads: &[i64]| {
        net(&[1, 3, 4])
            .integers("pads", pads)
            .node("Pad", &["x", "pads"], &["y"], &[])
            .output("y")
            .bytes()
    };
    together(&padded(&[0, 1, 0, 0, 0, 2]), &[3, 4]);
    one_by_one(
        &padded(&[1, 0, 0, 0, 0, 0]),
        &[3, 4],
        "it pads along the axis of the samples",
    );
    let changed = |op: &str, list: &[i64]| {
        net(&[1, 3, 1])
            .integers("list", list)
            .node(op, &["x", "list"], &["y"], &[])
            .output("y")
            .bytes()
    };
    assert_eq!(together(&changed("Expand", &[1, 3, 2]), &[3, 1]), 1);
    assert_eq!(together(&changed("Expand", &[3, 2]), &[3, 1]), 0);
    assert_eq!(together(&changed("Expand", &[2, 1, 3, 2]), &[3, 1]), 1);
    together(&changed("Tile", &[1, 2, 3]), &[3, 1]);
    let repeats = "it repeats along the axis of the samples";
    one_by_one(&changed("Expand", &[2, 3, 1]), &[3, 1], repeats);
    one_by_one(&changed("Tile", &[2, 1, 1]), &[3, 1], repeats);
    let triangle = |shape: &[i64]| {
        net(shape)
            .node("Trilu", &["x"], &["y"], &[])
            .output("y")
            .bytes()
    };
    together(&triangle(&[1, 3, 4]), &[3, 4]);
    one_by_one(
        &triangle(&[1, 4]),
        &[4],
        "it cuts along the axis of the samples",
    );
}
