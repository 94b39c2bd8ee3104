//! Summarises and runs files made in the tests: shapes, rows, functions, inner values.

use burn::tensor::Device;
use proofmark_onnx::proto::{
    AttributeProto, DimensionProto, FunctionProto, GraphProto, Message as _, ModelProto, NodeProto,
    OperatorSetIdProto, TensorProto, TensorShapeProto, TensorTypeProto, TypeProto, ValueInfoProto,
};
use proofmark_onnx::{Array, Gradient, OnnxError, OnnxFile, Session};

/// Returns a dimension: a number, or a name.
fn dim(text: &str) -> DimensionProto {
    let number = text.parse().ok();
    DimensionProto {
        dim_value: number,
        dim_param: (number.is_none() && text != "?").then(|| text.to_owned()),
    }
}

/// `value("x", 1, "N,3")`: name, element type, dimensions.
fn value(name: &str, elem_type: i32, dims: &str) -> ValueInfoProto {
    ValueInfoProto {
        name: name.into(),
        r#type: Some(TypeProto {
            tensor_type: Some(TensorTypeProto {
                elem_type,
                shape: Some(TensorShapeProto {
                    dim: dims.split(',').filter(|d| !d.is_empty()).map(dim).collect(),
                }),
            }),
        }),
    }
}

/// `node("a", "Add", "x,y", "z")`.
fn node(name: &str, op: &str, inputs: &str, outputs: &str) -> NodeProto {
    let list = |text: &str| text.split(',').map(str::to_owned).collect();
    let (domain, op_type) = op.rsplit_once(':').unwrap_or(("", op));
    NodeProto {
        name: name.into(),
        domain: domain.into(),
        op_type: op_type.into(),
        input: list(inputs),
        output: list(outputs),
        ..Default::default()
    }
}

fn opset(domain: &str, version: i64) -> OperatorSetIdProto {
    OperatorSetIdProto {
        domain: domain.into(),
        version,
    }
}

fn model(inputs: Vec<ValueInfoProto>, nodes: Vec<NodeProto>, outputs: &[&str]) -> ModelProto {
    ModelProto {
        ir_version: Some(8),
        producer_name: "hand".into(),
        opset_import: vec![opset("", 17)],
        graph: Some(GraphProto {
            name: "g".into(),
            input: inputs,
            node: nodes,
            initializer: vec![TensorProto {
                name: "one".into(),
                dims: vec![1],
                data_type: 1,
                float_data: vec![1.0],
                ..Default::default()
            }],
            output: outputs.iter().map(|o| value(o, 0, "")).collect(),
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn decode(model: &ModelProto) -> Result<OnnxFile, OnnxError> {
    OnnxFile::decode("m.onnx", model.encode_to_vec(), None)
}

fn session(model: &ModelProto) -> Session {
    Session::new(decode(model).unwrap(), &Device::flex()).unwrap()
}

fn floats(shape: &[usize], values: &[f32]) -> Array {
    Array::try_new(shape, values.to_vec()).unwrap()
}

/// `z = relu(x + y)`; only `x` has rows.
fn sum(rows: &str) -> ModelProto {
    model(
        vec![value("x", 1, &format!("{rows},2")), value("y", 1, "2")],
        vec![node("a", "Add", "x,y", "s"), node("r", "Relu", "s", "z")],
        &["z"],
    )
}

fn says(error: &OnnxError, words: &[&str]) {
    let text = error.to_string();
    for word in words {
        assert!(text.contains(word), "no `{word}` in: {text}");
    }
}

#[test]
fn a_model_for_few_rows_takes_any_number_of_rows() {
    let x = floats(&[5, 2], &[0., 1., 2., 3., 4., 5., 6., 7., 8., -9.]);
    let y = floats(&[2], &[10., 0.]);
    let expected = floats(&[5, 2], &[10., 1., 12., 3., 14., 5., 16., 7., 18., 0.]);
    for rows in ["1", "2", "5", "7", "N", "?"] {
        let out = session(&sum(rows)).run(&[x.clone(), y.clone()]).unwrap();
        assert_eq!(out[0], expected, "{rows} at a time");
    }
}

#[test]
fn inner_values_are_watched_by_name_or_by_node() {
    let mut session = session(&sum("1"));
    for name in ["a", "one", "s"] {
        session.watch(name).unwrap();
    }
    let names: Vec<String> = session.outputs().into_iter().map(|d| d.name).collect();
    assert_eq!(names, ["z", "s", "one"]);
    let inputs = [floats(&[2, 2], &[0., 1., 2., -3.]), floats(&[2], &[0., 0.])];
    let out = session.run(&inputs).unwrap();
    assert_eq!(out[1], inputs[0]);
    assert_eq!(out[2], floats(&[1], &[1.]), "a constant is given once");
    says(
        &session.watch("oen").unwrap_err(),
        &["`oen`", "did you mean `one`"],
    );
}

#[test]
fn arrays_that_do_not_fit_are_named() {
    let two = |a: &str, b: &str| {
        let inputs = vec![value("x", 1, a), value("y", 1, b)];
        session(&model(inputs, vec![node("a", "Add", "x,y", "z")], &["z"]))
    };
    let zeros = |shape: &[usize]| floats(shape, &vec![0.0; shape.iter().product()]);
    let refused = |s: &Session, a: &[usize], b: &[usize], words: &[&str]| {
        says(&s.run(&[zeros(a), zeros(b)]).unwrap_err(), words);
    };
    let free = two("N,2", "N,?");
    refused(&free, &[3, 4], &[3, 2], &["`x`", "[3, 4]", "[N, 2]"]);
    refused(
        &free,
        &[3, 2],
        &[4, 2],
        &["`y`", "[4, 2]", "[N, ?]", "N = 3", "`x`"],
    );
    refused(&free, &[3], &[3, 2], &["`x`", "[3]", "[N, 2]"]);
    let fixed = two("1,2", "1,2");
    refused(
        &fixed,
        &[3, 2],
        &[4, 2],
        &["`y`", "[4, 2]", "[1, 2]", "`x` has 3 rows"],
    );
    refused(&fixed, &[0, 2], &[1, 2], &["`x`", "[0, 2]"]);
    assert!(fixed.run(&[zeros(&[3, 2]), zeros(&[1, 2])]).is_ok());
    let ints = Array::try_new([1, 2], vec![0i64; 2]).unwrap();
    let error = fixed.run(&[ints, zeros(&[1, 2])]).unwrap_err();
    says(&error, &["`x`", "int64", "float32"]);
    says(
        &fixed.run(&[zeros(&[1, 2])]).unwrap_err(),
        &["1 arrays for 2"],
    );
}

#[test]
fn all_unsupported_nodes_are_listed_at_once() {
    let mut branching = node("if", "If", "c", "z");
    for (name, op) in [("then_branch", "Relu"), ("else_branch", "Nonsense")] {
        branching.attribute.push(AttributeProto {
            name: name.into(),
            r#type: 5,
            g: Some(GraphProto {
                node: vec![node("", op, "x", &format!("{name}_out"))],
                output: vec![value(&format!("{name}_out"), 0, "")],
                ..Default::default()
            }),
            ..Default::default()
        });
    }
    let nodes = vec![
        node("w", "com.example:Wild", "x", "v"),
        branching,
        node("r", "Relu", "z", "y"),
    ];
    let mut proto = model(
        vec![value("x", 1, "1"), value("c", 9, "")],
        nodes,
        &["y", "v"],
    );
    proto.opset_import.push(opset("com.example", 3));
    let file = decode(&proto).unwrap();
    let listed: Vec<String> = file
        .summary()
        .unsupported
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(listed[0], "node `w` (com.example.Wild, opset 3)");
    assert_eq!(
        listed.last().unwrap(),
        "node `if/else_branch_out` (Nonsense, opset 17)"
    );
    match file.check(&Device::flex()) {
        Err(OnnxError::Unsupported { nodes, .. }) => assert_eq!(nodes, listed),
        other => panic!("{other:?}"),
    }
    let relu = file
        .summary()
        .operators
        .into_iter()
        .find(|o| o.name == "Relu")
        .unwrap();
    assert_eq!(
        (relu.count, relu.opset, relu.domain.as_str()),
        (2, 17, "ai.onnx")
    );
    assert_eq!(relu.support.unwrap().gradient, Gradient::Exact);
    assert_eq!(
        (file.summary().parameters, file.summary().producer),
        (1, Some("hand".into()))
    );
}

/// `f(a, b) = (relu(a) + b, a)`; its inner value `s` has the name of an outer value.
fn function(name: &str, inner: &str) -> FunctionProto {
    FunctionProto {
        name: name.into(),
        domain: "own".into(),
        input: vec!["a".into(), "b".into()],
        output: vec!["o".into(), "a".into()],
        node: vec![node("n", inner, "a", "s"), node("", "Add", "s,b", "o")],
        opset_import: vec![opset("", 17), opset("own", 1)],
        ..Default::default()
    }
}

#[test]
fn unsupported_nodes_inside_functions_are_listed() {
    let nodes = vec![
        node("first", "own:F", "x,one", "s,copy"),
        node("second", "own:F", "s,copy", "z,"),
    ];
    let mut proto = model(vec![value("x", 1, "2")], nodes, &["z"]);
    proto.functions = vec![function("F", "Relu")];
    let out = session(&proto).run(&[floats(&[2], &[-1., 2.])]).unwrap();
    // relu(-1) + 1 = 1, and 1 + (-1); relu(2) + 1 = 3, and 3 + 2.
    assert_eq!(out, [floats(&[2], &[0., 5.])]);

    proto.functions = vec![function("F", "Nonsense")];
    let listed = decode(&proto).unwrap().summary().unsupported;
    let names: Vec<&str> = listed.iter().map(|u| u.node.as_str()).collect();
    assert!(
        names.len() == 2 && names.iter().all(|n| n.ends_with("/n")),
        "{names:?}"
    );
}
