//! Malicious files: each must end in an error, without a panic, in bounded memory and time.

mod corpus;
mod enormous;
mod external;

use std::path::Path;
use std::time::{Duration, Instant};

use burn::tensor::Device;
use prost::Message;

use crate::array::Array;
use crate::dtype::DType;
use crate::load::OnnxFile;
use crate::proto::{GraphProto, ModelProto, TensorProto};
use crate::room;
use crate::session::Dim;
use crate::sketch::{constant, floats, graph, info, list, model, node, yes};
use crate::tensor::Tensor;
use crate::value::Value;

/// Time limit of one attempt, with slack for a busy machine.
const QUICK: Duration = Duration::from_mins(1);

/// Decodes a file, builds its graph and runs it once on zeros, as loading a model does.
#[allow(clippy::disallowed_methods)] // the elapsed time is what is tested
fn attempt_in(bytes: Vec<u8>, folder: Option<&Path>) -> Result<(), String> {
    let began = Instant::now();
    let device = Device::flex();
    let result = (|| {
        let file = OnnxFile::decode("hostile", bytes, folder).map_err(|e| e.to_string())?;
        let graph = file.build(&device).map_err(|e| e.to_string())?;
        let plan = graph.plan(&graph.outputs);
        room::while_loading(|| {
            let inputs = file
                .inputs()
                .into_iter()
                .map(|input| {
                    let shape: Vec<usize> = input
                        .shape
                        .unwrap_or_default()
                        .iter()
                        .map(|d| if let Dim::Fixed(n) = d { *n } else { 1 })
                        .collect();
                    let n = room::elements(&shape)?;
                    match input.dtype.unwrap_or(DType::F32) {
                        DType::F32 => Tensor::upload(vec![0.0; n], &shape, DType::F32, &device)
                            .map(Value::from),
                        other => Ok(Array::try_new(shape, vec![0.0f32; n])?.cast(other)?.into()),
                    }
                })
                .collect::<Result<_, String>>()?;
            graph
                .run(&plan, inputs, &device, 1, &mut |_, _| {})
                .map_err(|e| e.to_string())
        })
    })();
    assert!(began.elapsed() < QUICK, "it took {:?}", began.elapsed());
    result.map(|_| ())
}

fn attempt(bytes: Vec<u8>) -> Result<(), String> {
    attempt_in(bytes, None)
}

/// Asserts that a model is refused with an error that contains `why` and does not come from a caught panic.
#[track_caller]
fn refused(model: &ModelProto, why: &str) {
    let problem = attempt(model.encode_to_vec()).expect_err("it was accepted");
    assert!(problem.contains(why), "{problem}");
    assert!(!problem.contains("panic"), "{problem}");
}

#[track_caller]
fn refused_graph(graph: GraphProto, why: &str) {
    refused(&model(graph), why);
}

/// A model that uses most features of the format.
fn specimen() -> ModelProto {
    let branch = |op: &str, other: &str| graph(vec![node(op, &["a", other], &["r"])], &[], &["r"]);
    let mut g = graph(
        vec![
            node("Transpose", &["x"], &["t"]).ints("perm", &[1, 0]),
            node("Reshape", &["t", "s"], &["a"]),
            node("If", &["c"], &["b"])
                .graph("then_branch", branch("Add", "a"))
                .graph("else_branch", branch("Add", "k")),
            node("Slice", &["b", "i", "j"], &["d"]),
            node("Concat", &["d", "k"], &["e"]).int("axis", 0),
            node("Gather", &["e", "i"], &["f"]).int("axis", -1),
            node("Pad", &["f", "p"], &["y"]).text("mode", "edge"),
        ],
        &[],
        &["y"],
    )
    .constant("k", &floats(&[1.0, 2.0, 3.0, 4.0]))
    .constant("s", &list(&[-1]))
    .constant("i", &list(&[1]))
    .constant("j", &list(&[3]))
    .constant("p", &list(&[1, 0]))
    .constant("c", &yes(true));
    g.input.push(info("x", 1, &[2, 2]));
    model(g)
}

#[test]
fn the_specimen_is_accepted() {
    assert_eq!(attempt(specimen().encode_to_vec()), Ok(()));
}

#[test]
fn truncated_files() {
    let bytes = specimen().encode_to_vec();
    for length in 0..bytes.len() {
        let problem = attempt(bytes[..length].to_vec()).expect_err("a part was accepted");
        assert!(!problem.contains("panic"), "{length}: {problem}");
    }
}

/// Many flips leave a valid file; none may panic or hang.
#[test]
fn any_single_flipped_bit_is_handled() {
    let bytes = specimen().encode_to_vec();
    let mut refusals = 0;
    for at in 0..8 * bytes.len() {
        let mut flipped = bytes.clone();
        flipped[at / 8] ^= 1 << (at % 8);
        if let Err(problem) = attempt(flipped) {
            assert!(!problem.contains("panic"), "bit {at}: {problem}");
            refusals += 1;
        }
    }
    assert!(refusals > bytes.len());
}

/// Pseudorandom bytes.
#[test]
fn pseudorandom_bytes_are_refused() {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    for length in 0..2000 {
        let bytes = (0..length % 97)
            .map(|_| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                (state >> 56) as u8
            })
            .collect();
        assert!(attempt(bytes).is_err());
    }
}

#[test]
fn cycles() {
    let two = vec![node("Relu", &["b"], &["a"]), node("Relu", &["a"], &["b"])];
    refused_graph(graph(two, &[], &["b"]), "part of a cycle");
    let own = vec![node("Add", &["a", "x"], &["a"])];
    refused_graph(graph(own, &["x"], &["a"]), "part of a cycle");
    // A cycle through a branch that reads what its own node computes.
    let branch = || graph(vec![node("Relu", &["y"], &["r"])], &[], &["r"]);
    let through = node("If", &["c"], &["y"])
        .graph("then_branch", branch())
        .graph("else_branch", branch());
    refused_graph(graph(vec![through], &["c"], &["y"]), "part of a cycle");
}

#[test]
fn names_defined_twice() {
    let relu = |to: &str| node("Relu", &["x"], &[to]);
    for nodes in [
        vec![relu("y"), relu("y")],
        vec![relu("x")],
        vec![node("Split", &["x"], &["y", "y"])],
    ] {
        let problem = attempt(model(graph(nodes, &["x"], &["y"])).encode_to_vec()).unwrap_err();
        assert!(
            problem.contains("defined twice") || problem.contains("cycle"),
            "{problem}"
        );
    }
    refused_graph(graph(vec![relu("y")], &["x", "x"], &["y"]), "listed twice");
    let k = floats(&[1.0]);
    let constants = graph(vec![relu("y")], &["x"], &["y"])
        .constant("k", &k)
        .constant("k", &k);
    refused_graph(constants, "defined twice");
    // A branch may not redefine a name of the enclosing graph.
    let inner = || graph(vec![node("Relu", &["x"], &["x"])], &[], &["x"]);
    let around = node("If", &["c"], &["y"])
        .graph("then_branch", inner())
        .graph("else_branch", inner());
    assert!(attempt(model(graph(vec![around], &["x", "c"], &["y"])).encode_to_vec()).is_err());
}

#[test]
fn names_defined_nowhere() {
    refused_graph(
        graph(vec![node("Relu", &["z"], &["y"])], &[], &["y"]),
        "computed by no earlier node",
    );
    refused_graph(graph(vec![], &[], &["y"]), "computed by no node");
}

#[test]
fn attributes_of_the_wrong_type() {
    let x = || floats(&[1.0, 2.0]);
    for n in [
        node("Transpose", &["x"], &["y"]).text("perm", "0"),
        node("Concat", &["x"], &["y"]).ints("axis", &[0]),
        node("Concat", &["x"], &["y"]).tensor("axis", constant("", &x())),
        node("Pad", &["x", "x"], &["y"]).int("mode", 1),
        node("If", &["c"], &["y"]).int("then_branch", 1),
        node("Flatten", &["x"], &["y"]).graph("axis", graph(vec![], &[], &[])),
    ] {
        let g = graph(vec![n], &[], &["y"])
            .constant("x", &x())
            .constant("c", &yes(true));
        refused_graph(g, "attribute `");
    }
    // A string attribute that is not UTF-8.
    let mut n = node("Pad", &["x", "x"], &["y"]).text("mode", "");
    n.attribute[0].s = vec![0xff, 0xfe].into();
    refused_graph(graph(vec![n], &["x"], &["y"]), "not UTF-8");
}

fn with_constant(t: TensorProto) -> ModelProto {
    let mut g = graph(vec![node("Relu", &["k"], &["y"])], &[], &["y"]);
    g.initializer.push(TensorProto {
        name: "k".into(),
        ..t
    });
    model(g)
}

#[test]
fn constants_of_the_wrong_type() {
    let two = floats(&[1.0, 2.0]);
    for kind in [99, -1, 14, 17, 22, i32::MAX] {
        let t = TensorProto {
            data_type: kind,
            ..constant("k", &two)
        };
        refused(&with_constant(t), "element type");
    }
    // The numbers are stored in the field of another type.
    let t = TensorProto {
        data_type: 7,
        ..constant("k", &two)
    };
    refused(&with_constant(t), "0 elements for shape [2]; expected 2");
    let t = TensorProto {
        data_type: 8,
        dims: vec![1],
        raw_data: Some(vec![1].into()),
        ..Default::default()
    };
    refused(&with_constant(t), "strings cannot be raw data");
}

#[test]
fn constants_of_the_wrong_size() {
    let raw = |dims: &[i64], bytes: usize| {
        with_constant(TensorProto {
            data_type: 1,
            dims: dims.to_vec(),
            raw_data: Some(vec![0; bytes].into()),
            ..Default::default()
        })
    };
    assert_eq!(attempt(raw(&[2], 8).encode_to_vec()), Ok(()));
    refused(&raw(&[2], 7), "7 bytes of data; expected 2 elements");
    refused(&raw(&[2], 12), "12 bytes of data; expected 2 elements");
    refused(&raw(&[2], 0), "0 bytes of data; expected 2 elements");
    refused(&raw(&[0], 4), "4 bytes of data; expected 0 elements");
    refused(&raw(&[-1], 4), "dimension -1; expected 0 or more");
    let huge = 1 << 62;
    refused(&raw(&[huge], 8), "has more than");
    refused(&raw(&[huge, huge], 8), "has more than");
    refused(&raw(&[4, huge], 8), "has more than");
    // A product that overflows to 0, and one that really is 0.
    refused(&raw(&[1 << 32, 1 << 32], 0), "has more than");
    refused(&raw(&[huge, huge, 0], 0), "has more than");
}

#[test]
fn a_declared_input_of_enormous_shape() {
    let mut g = graph(vec![node("Relu", &["x"], &["y"])], &[], &["y"]);
    g.input.push(info("x", 1, &[1 << 62, 1 << 62]));
    refused_graph(g, "has more than");
}

fn field(tag: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![tag << 3 | 2];
    prost::encode_length_delimiter(bytes.len(), &mut out).unwrap();
    out.extend_from_slice(bytes);
    out
}

/// Returns a model whose only node holds a graph that holds a node, and so on, `levels` deep. It is encoded by hand
/// because a writer would recurse as well.
fn nested(levels: usize) -> Vec<u8> {
    let mut inner = graph(vec![node("Relu", &["x"], &["r"])], &[], &["r"]).encode_to_vec();
    for _ in 0..levels {
        let attribute = |name: &[u8]| {
            let mut a = field(1, name);
            a.extend(field(6, &inner));
            // Field 20, the attribute type: 5, a graph.
            a.extend([0xa0, 0x01, 5]);
            field(5, &a)
        };
        let mut n = field(1, b"c");
        n.extend(field(2, b"r"));
        n.extend(field(4, b"If"));
        n.extend(attribute(b"then_branch"));
        // The other branch is empty: two would double the file at every level.
        let mut other = field(1, b"else_branch");
        let short = graph(vec![], &[], &["x"]).encode_to_vec();
        other.extend(field(6, &short));
        other.extend([0xa0, 0x01, 5]);
        n.extend(field(5, &other));
        let mut g = field(1, &n);
        g.extend(field(12, &field(1, b"r")));
        inner = g;
    }
    let mut g = inner;
    g.extend(field(11, &info("x", 1, &[1]).encode_to_vec()));
    g.extend(field(11, &info("c", 9, &[1]).encode_to_vec()));
    let mut m = field(7, &g);
    m.extend(field(8, &[0x10, 21]));
    m
}

#[test]
fn branches_nested_deep() {
    // The deepest levels allowed.
    for levels in [1, 10, 30] {
        assert_eq!(attempt(nested(levels)), Ok(()), "{levels} levels");
    }
    for levels in [50, 1000, 5000] {
        let problem = attempt(nested(levels)).unwrap_err();
        assert!(problem.contains("not a well-formed ONNX file"), "{problem}");
    }
}

#[test]
fn files_that_are_not_models_are_refused() {
    let root = tempfile::tempdir().unwrap();
    for path in [root.path().to_path_buf(), root.path().join("none")] {
        assert!(OnnxFile::open(&path).is_err());
    }
    refused(&ModelProto::default(), "is empty");
    let bare = ModelProto {
        ir_version: Some(8),
        ..Default::default()
    };
    refused(&bare, "has no graph");
    let mut no_version = specimen();
    no_version.opset_import.clear();
    refused(
        &no_version,
        "states no version of the operator set `ai.onnx` (opset_import), which node",
    );
    for version in [i64::MIN, -1, 0, i64::MAX] {
        let mut odd = specimen();
        odd.opset_import[0].version = version;
        // Any version must be handled without a panic.
        if let Err(problem) = attempt(odd.encode_to_vec()) {
            assert!(!problem.contains("panic"), "{version}: {problem}");
        }
    }
}
