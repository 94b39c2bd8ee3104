//! Files made to harm: each ends in an error sentence, without a panic, in bounded memory and time.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use burn::tensor::Device;
use prost::Message;

use crate::array::Array;
use crate::dtype::DType;
use crate::load::OnnxFile;
use crate::proto::{
    FunctionProto, GraphProto, ModelProto, NodeProto, StringStringEntryProto, TensorProto,
};
use crate::room;
use crate::session::Dim;
use crate::sketch::{constant, floats, graph, info, int, list, model, node, yes};
use crate::tensor::Tensor;
use crate::value::Value;

/// Longest that anything here may take, with room for a busy machine.
const QUICK: Duration = Duration::from_mins(1);

/// Decodes a file, builds its graph and tries it out once on zeros, as a file is before it is trusted.
#[allow(clippy::disallowed_methods)] // how long it takes is what is tested
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

/// Asserts that a model is refused with a sentence that says `why`, and not by a panic that was caught.
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

/// A model with something of everything.
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
fn the_specimen_itself_is_fine() {
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

/// Many flips leave a valid file; what counts is that none does harm.
#[test]
fn every_bit_flipped() {
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

/// Bytes that no writer would write.
#[test]
fn noise() {
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
    // Through a branch that reads what its own node computes.
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
    // A branch may not take a name from around it.
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
    // A text that is not one.
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
    // The numbers are there, in the field of another type.
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
    // A product that is 0 again when it overflows, and one that is 0 honestly.
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

/// A model whose only node holds a graph that holds a node … `levels` deep; written by hand, since a writer would
/// recurse, too.
fn nested(levels: usize) -> Vec<u8> {
    let mut inner = graph(vec![node("Relu", &["x"], &["r"])], &[], &["r"]).encode_to_vec();
    for _ in 0..levels {
        let attribute = |name: &[u8]| {
            let mut a = field(1, name);
            a.extend(field(6, &inner));
            // Type 5: a graph (field 20, a number).
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
    // As deep as a file may be.
    for levels in [1, 10, 30] {
        assert_eq!(attempt(nested(levels)), Ok(()), "{levels} levels");
    }
    for levels in [50, 1000, 5000] {
        let problem = attempt(nested(levels)).unwrap_err();
        assert!(problem.contains("not a well-formed ONNX file"), "{problem}");
    }
}

/// One operator asked for 2^40 elements, of a constant and of an input.
fn enormous(op: &NodeProto, constants: &[(&str, Array)]) {
    for given in [true, false] {
        let mut g = graph(vec![op.clone()], &[], &["y"]);
        for (name, array) in constants {
            g = g.constant(name, array);
        }
        if given {
            g = g.constant("x", &floats(&[1.0]));
        } else {
            g.input.push(info("x", 1, &[1]));
        }
        let problem = attempt(model(g).encode_to_vec()).expect_err("it was accepted");
        assert!(!problem.contains("panic"), "{problem}");
    }
}

const HUGE: i64 = 1 << 40;

#[test]
fn an_enormous_expand() {
    enormous(
        &node("Expand", &["x", "n"], &["y"]),
        &[("n", list(&[HUGE]))],
    );
    let many = [("n", list(&[1 << 20, 1 << 20]))];
    enormous(&node("Expand", &["x", "n"], &["y"]), &many);
}

#[test]
fn an_enormous_tile() {
    enormous(&node("Tile", &["x", "n"], &["y"]), &[("n", list(&[HUGE]))]);
    enormous(
        &node("Tile", &["x", "n"], &["y"]),
        &[("n", list(&[i64::MAX]))],
    );
}

#[test]
fn an_enormous_pad() {
    for mode in ["constant", "edge", "reflect", "wrap"] {
        for n in [HUGE, i64::MAX] {
            let pad = node("Pad", &["x", "n"], &["y"]).text("mode", mode);
            enormous(&pad, &[("n", list(&[n, n]))]);
        }
    }
    enormous(
        &node("CenterCropPad", &["x", "n"], &["y"]),
        &[("n", list(&[HUGE]))],
    );
}

#[test]
fn an_enormous_constant_of_shape() {
    enormous(
        &node("ConstantOfShape", &["n"], &["y"]),
        &[("n", list(&[1 << 20, 1 << 20]))],
    );
}

#[test]
fn an_enormous_range() {
    enormous(
        &node("Range", &["a", "n", "b"], &["y"]),
        &[("a", int(0)), ("n", int(HUGE)), ("b", int(1))],
    );
    enormous(
        &node("Range", &["a", "n", "b"], &["y"]),
        &[
            ("a", Array::new([], vec![0.0f32])),
            ("n", Array::new([], vec![1.0f32])),
            ("b", Array::new([], vec![f32::MIN_POSITIVE])),
        ],
    );
}

#[test]
fn an_enormous_one_hot() {
    enormous(
        &node("OneHot", &["i", "n", "v"], &["y"]),
        &[
            ("i", list(&[0])),
            ("n", int(HUGE)),
            ("v", floats(&[0.0, 1.0])),
        ],
    );
}

#[test]
fn enormous_blocks_and_splits() {
    let four = Array::new([1, 1, 1, 1], vec![1.0f32]);
    let blocks = |op: &str| node(op, &["k"], &["y"]).int("blocksize", 1 << 32);
    enormous(&blocks("DepthToSpace"), &[("k", four.clone())]);
    enormous(&blocks("SpaceToDepth"), &[("k", four)]);
    enormous(
        &node("Split", &["x", "n"], &["y"]),
        &[("n", list(&[i64::MAX]))],
    );
}

/// Every node doubles what the one before it made.
fn doubling(op: impl Fn(&str, &str) -> NodeProto) {
    for given in [true, false] {
        let nodes = (0..40)
            .map(|i| {
                let from = if i == 0 { "x".into() } else { format!("v{i}") };
                op(&from, &format!("v{}", i + 1))
            })
            .collect();
        let mut g = graph(nodes, &[], &["v40"]).constant("two", &list(&[2]));
        if given {
            g = g.constant("x", &floats(&[1.0]));
        } else {
            g.input.push(info("x", 1, &[1]));
        }
        let problem = attempt(model(g).encode_to_vec()).expect_err("it was accepted");
        assert!(
            problem.contains("has more than") || problem.contains("too much memory"),
            "{problem}"
        );
    }
}

#[test]
fn a_chain_of_doubling_concats() {
    doubling(|from, to| node("Concat", &[from, from], &[to]).int("axis", 0));
}

#[test]
fn a_chain_of_doubling_tiles() {
    doubling(|from, to| node("Tile", &[from, "two"], &[to]));
}

/// A loop that doubles its state, asked for more rounds than there are atoms.
#[test]
fn loops_without_end() {
    let body = |nodes: Vec<NodeProto>, out: &str| graph(nodes, &["i", "c", "s"], &["c", out]);
    let endless = |body: GraphProto| {
        graph(
            vec![node("Loop", &["", "c", "x"], &["y"]).graph("body", body)],
            &[],
            &["y"],
        )
        .constant("c", &yes(true))
        .constant("x", &floats(&[1.0]))
    };
    refused_graph(endless(body(vec![], "s")), "too many rounds");
    let double = node("Concat", &["s", "s"], &["t"]).int("axis", 0);
    refused_graph(endless(body(vec![double], "t")), "has more than");
    // A loop in a loop in a loop.
    let mut inner = body(vec![], "s");
    for _ in 0..3 {
        inner = body(
            vec![node("Loop", &["", "c", "s"], &["t"]).graph("body", inner)],
            "t",
        );
    }
    refused_graph(endless(inner), "too many rounds");
}

fn beside(entries: &[(&str, &str)]) -> ModelProto {
    with_constant(TensorProto {
        data_type: 1,
        dims: vec![2],
        data_location: 1,
        external_data: entries
            .iter()
            .map(|(key, value)| StringStringEntryProto {
                key: (*key).into(),
                value: (*value).into(),
            })
            .collect(),
        ..Default::default()
    })
}

#[test]
fn external_data_outside_the_folder() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("models");
    fs::create_dir(&folder).unwrap();
    fs::write(root.path().join("secret"), [0; 8]).unwrap();
    fs::write(folder.join("weights"), [0; 8]).unwrap();
    let try_it = |location: &str| {
        let bytes = beside(&[("location", location)]).encode_to_vec();
        attempt_in(bytes, Some(&folder))
    };
    assert_eq!(try_it("weights"), Ok(()));
    assert_eq!(try_it("./weights"), Ok(()));
    let absolute = root.path().join("secret").display().to_string();
    for location in [
        "../secret",
        "./../secret",
        "weights/../../secret",
        "../models/weights",
        "/etc/passwd",
        &absolute,
        "",
    ] {
        let problem = try_it(location).unwrap_err();
        assert!(problem.contains("leaves the model's folder"), "{problem}");
    }
    for location in [".", "none", "weights/none"] {
        let problem = try_it(location).unwrap_err();
        assert!(problem.contains("external data"), "{problem}");
    }
    let problem = attempt(beside(&[("location", "weights")]).encode_to_vec()).unwrap_err();
    assert!(problem.contains("no folder to look for it in"), "{problem}");
}

#[cfg(unix)]
#[test]
fn external_data_through_links() {
    use std::os::unix::fs::symlink;
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("models");
    fs::create_dir(&folder).unwrap();
    fs::write(root.path().join("secret"), [0; 8]).unwrap();
    fs::write(folder.join("weights"), [0; 8]).unwrap();
    symlink(root.path().join("secret"), folder.join("file")).unwrap();
    symlink(root.path(), folder.join("up")).unwrap();
    symlink("/dev/zero", folder.join("zero")).unwrap();
    symlink(folder.join("weights"), folder.join("inside")).unwrap();
    symlink("around", folder.join("around")).unwrap();
    let try_it = |location: &str| {
        let bytes = beside(&[("location", location)]).encode_to_vec();
        attempt_in(bytes, Some(&folder))
    };
    assert_eq!(try_it("inside"), Ok(()));
    for location in ["file", "up/secret", "zero"] {
        let problem = try_it(location).unwrap_err();
        assert!(problem.contains("through a link"), "{problem}");
    }
    assert!(try_it("around").is_err());
}

#[test]
fn external_data_of_the_wrong_size() {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("weights"), [0; 16]).unwrap();
    let try_it = |offset: &str, length: &str| {
        let mut entries = vec![("location", "weights")];
        if !offset.is_empty() {
            entries.push(("offset", offset));
        }
        if !length.is_empty() {
            entries.push(("length", length));
        }
        attempt_in(beside(&entries).encode_to_vec(), Some(root.path()))
    };
    assert_eq!(try_it("8", ""), Ok(()));
    assert_eq!(try_it("4", "8"), Ok(()));
    let most = u64::MAX.to_string();
    for (offset, length) in [
        ("", ""),
        ("9", ""),
        ("16", "8"),
        ("17", ""),
        ("0", "7"),
        ("0", "16"),
        ("-1", "8"),
        ("0", "-8"),
        ("x", "8"),
        (&most, "8"),
        ("0", &most),
        (&most, ""),
        ("99999999999999999999", "8"),
    ] {
        let problem = try_it(offset, length).unwrap_err();
        assert!(problem.contains("external data"), "{problem}");
    }
    let nowhere = attempt_in(beside(&[]).encode_to_vec(), Some(root.path())).unwrap_err();
    assert!(nowhere.contains("without a location"), "{nowhere}");
}

#[test]
fn files_that_are_none() {
    let root = tempfile::tempdir().unwrap();
    for path in [root.path().to_path_buf(), root.path().join("none")] {
        assert!(OnnxFile::open(&path).is_err());
    }
    let empty = ModelProto::default();
    refused(&empty, "has no graph");
    let mut no_version = specimen();
    no_version.opset_import.clear();
    refused(&no_version, "names no version");
    for version in [i64::MIN, -1, 0, i64::MAX] {
        let mut odd = specimen();
        odd.opset_import[0].version = version;
        // Whatever it is taken for, it does no harm.
        if let Err(problem) = attempt(odd.encode_to_vec()) {
            assert!(!problem.contains("panic"), "{version}: {problem}");
        }
    }
}

/// Writes the fuzzer's corpus anew: a few models for it to start from.
#[test]
#[ignore = "writes files: run it by name after a change of what is worth fuzzing"]
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
