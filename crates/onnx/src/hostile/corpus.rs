//! Seed corpus of the fuzzer.

use std::fs;
use std::path::Path;

use prost::Message;

use super::external::beside;
use super::{nested, specimen, with_constant};
use crate::proto::{FunctionProto, ModelProto, NodeProto, TensorProto};
use crate::sketch::{floats, graph, info, int, list, model, node, yes};

/// Writes the fuzzer's seed corpus: a few models for it to start from.
#[test]
#[ignore = "writes files; run it by name when the seed corpus should change"]
fn write_the_fuzz_corpus() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/onnx_load");
    let write = |name: &str, bytes: Vec<u8>| fs::write(folder.join(name), bytes).unwrap();
    let one = |nodes: Vec<NodeProto>| {
        let mut g = graph(nodes, &[], &["y"])
            .constant("k", &floats(&[1.0, 2.0, 3.0]))
            .constant("i", &list(&[0, -1]))
            .constant("n", &int(2))
            .constant("c", &yes(true));
        g.input.push(info("x", 1, &[2, 3]));
        model(g).encode_to_vec()
    };
    let specimen = specimen().encode_to_vec();
    write("truncated", specimen[..specimen.len() / 2].to_vec());
    write("specimen", specimen);
    write("nested", nested(3));
    write("empty", Vec::new());
    let body = graph(
        vec![node("Add", &["s", "k"], &["t"])],
        &["m", "g", "s"],
        &["g", "t", "t"],
    );
    write(
        "loop",
        one(vec![
            node("Loop", &["n", "c", "k"], &["z", "y"]).graph("body", body),
        ]),
    );
    let body = graph(vec![node("Relu", &["s"], &["t"])], &["s"], &["t"]);
    write(
        "scan",
        one(vec![
            node("Scan", &["x"], &["y"])
                .int("num_scan_inputs", 1)
                .ints("scan_input_axes", &[1])
                .graph("body", body),
        ]),
    );
    write(
        "sequence",
        one(vec![
            node("SplitToSequence", &["x"], &["s"]),
            node("SequenceInsert", &["s", "x"], &["t"]),
            node("ConcatFromSequence", &["t"], &["y"]).int("axis", 0),
        ]),
    );
    write(
        "scatter",
        one(vec![
            node("ScatterElements", &["k", "i", "i"], &["s"]),
            node("Gather", &["x", "i"], &["g"]).int("axis", 1),
            node("Trilu", &["g", "n"], &["y"]),
        ]),
    );
    write(
        "shapes",
        one(vec![
            node("Shape", &["x"], &["s"]),
            node("Expand", &["n", "s"], &["e"]),
            node("Tile", &["e", "i"], &["t"]),
            node("Unsqueeze", &["t", "i"], &["u"]),
            node("Flatten", &["u"], &["y"]).int("axis", 2),
        ]),
    );
    write(
        "beside",
        beside(&[("location", "weights"), ("offset", "8")]).encode_to_vec(),
    );
    write("constant", {
        let raw = TensorProto {
            data_type: 1,
            dims: vec![2],
            raw_data: Some(vec![0; 8].into()),
            ..Default::default()
        };
        with_constant(raw).encode_to_vec()
    });
    let mut functions =
        ModelProto::decode(one(vec![node("F", &["x"], &["y"]).domain("own")]).as_slice()).unwrap();
    functions.functions.push(FunctionProto {
        name: "F".into(),
        domain: "own".into(),
        input: vec!["a".into()],
        output: vec!["b".into()],
        node: vec![node("Flatten", &["a"], &["b"]).refers("axis", "at", 2)],
        attribute: vec!["at".into()],
        ..Default::default()
    });
    write("function", functions.encode_to_vec());
}
