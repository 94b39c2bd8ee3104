//! `If` nodes: inlined if a length decides, else run sample by sample.

use proofmark_model::ScoreModel;
use proofmark_onnx::BatchMode;
use proofmark_onnx::proto::{
    AttributeProto, GraphProto, Message as _, ModelProto, NodeProto, ValueInfoProto,
};
use proofmark_onnx::writer::{Attr, OnnxWriter};
use proofmark_threat::host;

use crate::common::{
    More, SAMPLES, alone, close, model, net, numbers, one_by_one, query, together,
};

fn with(bytes: &[u8], change: impl FnOnce(&mut GraphProto)) -> Vec<u8> {
    let mut model = ModelProto::decode(bytes).unwrap();
    change(model.graph.as_mut().unwrap());
    model.encode_to_vec()
}

fn value(name: &str) -> ValueInfoProto {
    ValueInfoProto {
        name: name.into(),
        r#type: None,
    }
}

/// An `If` that chooses between two operators with these inputs.
fn branches(condition: &str, yes: (&str, &[&str]), no: (&str, &[&str])) -> NodeProto {
    let branch = |name: &str, (op, inputs): (&str, &[&str])| AttributeProto {
        name: name.into(),
        r#type: 5,
        g: Some(GraphProto {
            name: name.into(),
            node: vec![NodeProto {
                op_type: op.into(),
                input: inputs.iter().map(ToString::to_string).collect(),
                output: vec![format!("{name}_out")],
                ..Default::default()
            }],
            output: vec![value(&format!("{name}_out"))],
            ..Default::default()
        }),
        ..Default::default()
    };
    NodeProto {
        name: "choice".into(),
        op_type: "If".into(),
        input: vec![condition.into()],
        output: vec!["z".into()],
        attribute: vec![branch("then_branch", yes), branch("else_branch", no)],
        ..Default::default()
    }
}

/// A file that compares the length of an axis of `x` with 1, then runs `choice`, then a matrix product.
fn on_a_length(shape: &[i64], at: i64, choice: NodeProto) -> Vec<u8> {
    let bytes = net(shape)
        .weight("w", &[4, 2])
        .integers("at", &[at])
        .integers("one", &[1])
        .integers("axis", &[1])
        .node("Shape", &["x"], &["sizes"], &[])
        .node("Gather", &["sizes", "at"], &["length"], &[])
        .node("Equal", &["length", "one"], &["is_one"], &[])
        .node("MatMul", &["z", "w"], &["y"], &[])
        .output("y")
        .bytes();
    with(&bytes, |graph| graph.node.insert(3, choice))
}

#[test]
fn a_branch_chosen_by_a_length_is_inlined() {
    let choice = branches("is_one", ("Squeeze", &["x", "axis"]), ("Identity", &["x"]));
    let bytes = on_a_length(&[1, 1, 4], 1, choice.clone());
    assert_eq!(together(&bytes, &[1, 4]), 0);
    let bytes = on_a_length(&[1, 3, 4], 1, choice);
    assert_eq!(together(&bytes, &[3, 4]), 0);
    // If the condition depends on the number of samples, its value for one sample is used.
    let choice = branches("is_one", ("Add", &["x", "x"]), ("Identity", &["x"]));
    let bytes = on_a_length(&[0, 4], 0, choice);
    let model = model(&bytes, &[4]);
    assert_eq!(*model.batch_mode(), BatchMode::Open);
    let samples = numbers(SAMPLES * 4, 1.0);
    let scores = host(&model.scores(&query(&model, &samples)).unwrap());
    close(&scores, &alone(&bytes, &[4], &samples));
}

#[test]
fn a_nested_branch_chosen_by_a_length_is_inlined() {
    let inner = branches("is_one", ("Add", &["x", "x"]), ("Identity", &["x"]));
    let mut outer = branches("is_one", ("Identity", &["x"]), ("Identity", &["x"]));
    // The inner `If` has a length condition of its own.
    let then = outer.attribute[0].g.as_mut().unwrap();
    let asks = |op: &str, inputs: &[&str], output: &str| NodeProto {
        op_type: op.into(),
        input: inputs.iter().map(ToString::to_string).collect(),
        output: vec![output.into()],
        ..Default::default()
    };
    let mut inner = inner;
    inner.input = vec!["again".into()];
    inner.output = vec!["then_branch_out".into()];
    for (i, a) in inner.attribute.iter_mut().enumerate() {
        let g = a.g.as_mut().unwrap();
        g.node[0].output = vec![format!("deep{i}")];
        g.output = vec![value(&format!("deep{i}"))];
    }
    then.node = vec![
        asks("Shape", &["x"], "sizes_again"),
        asks("Gather", &["sizes_again", "at"], "length_again"),
        asks("Equal", &["length_again", "one"], "again"),
        inner,
    ];
    let bytes = on_a_length(&[1, 1, 4], 1, outer);
    assert_eq!(together(&bytes, &[1, 4]), 0);
}

#[test]
fn a_branch_chosen_by_the_data_is_taken_sample_by_sample() {
    let bytes = net(&[1, 4])
        .weight("w", &[4, 2])
        .constant("zero", &[], &[0.0])
        .integers("first", &[0])
        .integers("axes", &[1])
        .node(
            "ReduceSum",
            &["x", "axes"],
            &["sum"],
            &[("keepdims", Attr::Int(0))],
        )
        .node("Greater", &["sum", "zero"], &["positive"], &[])
        .node("MatMul", &["z", "w"], &["y"], &[])
        .output("y")
        .bytes();
    let choice = branches("positive", ("Relu", &["x"]), ("Neg", &["x"]));
    let bytes = with(&bytes, |graph| graph.node.insert(2, choice));
    one_by_one(&bytes, &[4], "node `choice` (If): no rule");
}

/// A file for `[1, 4]` whose `If` tests whether a number that `nodes` compute on the host exceeds two.
fn on_a_count(nodes: impl FnOnce(OnnxWriter) -> OnnxWriter) -> Vec<u8> {
    let writer = net(&[1, 4])
        .constant("zero", &[], &[0.0])
        .weight("w", &[4, 2])
        .integers("two", &[2])
        .integers("all", &[0, 1])
        .integers("from", &[0])
        .node("Greater", &["x", "zero"], &["above"], &[])
        .node("NonZero", &["above"], &["places"], &[]);
    let bytes = nodes(writer)
        .node("Greater", &["count", "two"], &["many"], &[])
        .node("MatMul", &["z", "w"], &["y"], &[])
        .output("y")
        .bytes();
    let choice = branches("many", ("Relu", &["x"]), ("Neg", &["x"]));
    with(&bytes, |graph| {
        graph.node.insert(graph.node.len() - 1, choice);
    })
}

#[test]
fn a_condition_on_a_data_dependent_size_is_not_fixed() {
    let flag = [("keepdims", Attr::Int(0))];
    for bytes in [
        on_a_count(|w| w.node("Size", &["places"], &["count"], &[])),
        on_a_count(|w| w.node("ReduceSum", &["places", "all"], &["count"], &flag)),
        on_a_count(|w| {
            w.node("Add", &["places", "two"], &["more"], &[])
                .node("Shape", &["more"], &["sizes"], &[])
                .node("ReduceMax", &["sizes"], &["count"], &flag)
        }),
        on_a_count(|w| {
            // As many elements of `x` as come before its largest.
            w.node("ArgMax", &["x"], &["row"], &[("axis", Attr::Int(1))])
                .integers("flat", &[-1])
                .node("Reshape", &["row", "flat"], &["stop"], &[])
                .node("Reshape", &["x", "flat"], &["list"], &[])
                .node("Slice", &["list", "from", "stop"], &["part"], &[])
                .node("Size", &["part"], &["count"], &[])
        }),
    ] {
        let model = model(&bytes, &[4]);
        assert!(matches!(
            model.batch_mode(),
            BatchMode::Chunks { size: 1, .. }
        ));
        let samples = numbers(SAMPLES * 4, 1.0);
        let scores = host(&model.scores(&query(&model, &samples)).unwrap());
        close(&scores, &alone(&bytes, &[4], &samples));
    }
}
