//! What outputs hold: what the graph shows, what the options state, and what is checked.

use burn::tensor::{Device, Tensor};
use proofmark_domain::{Bounds, Kind, Modality, OutputKind};
use proofmark_model::{DecisionModel, GradientModel, Query, ScoreModel};
use proofmark_onnx::writer::{Attr, OnnxWriter};
use proofmark_onnx::{Array, OnnxFile, OnnxModel, OnnxOptions, Session};
use proofmark_threat::{Batch, host};

const FEATURES: usize = 4;

fn numbers(n: usize, salt: f64) -> Vec<f32> {
    (0..n)
        .map(|i| (2.0 * ((i as f64 + salt) * 0.618_033_988_749_894_9).fract() - 1.0) as f32)
        .collect()
}

/// A file that computes `z`, `[n, width]`, from four numbers; `rows`: number of samples the file takes, 0 for any.
fn scores_of(rows: i64, width: i64) -> OnnxWriter {
    let weights: Vec<f32> = numbers(FEATURES * width as usize, 0.4)
        .iter()
        .map(|w| 3.0 * w)
        .collect();
    OnnxWriter::new(18)
        .input("x", &[rows, FEATURES as i64])
        .constant("w", &[FEATURES as i64, width], &weights)
        .node("MatMul", &["x", "w"], &["z"], &[])
}

fn file(bytes: &[u8]) -> OnnxFile {
    OnnxFile::decode("net.onnx", bytes.to_vec(), None).unwrap()
}

fn bind(bytes: &[u8], kind: OutputKind) -> Result<OnnxModel, String> {
    let modality = Modality {
        name: "x".into(),
        kind: Kind::Table,
        shape: vec![FEATURES],
        bounds: Bounds::uniform(-1.0, 1.0).unwrap(),
    };
    let mut options = OnnxOptions::default();
    options.kind = kind;
    OnnxModel::new(file(bytes), &[modality], &options, &Device::flex()).map_err(|e| e.to_string())
}

fn query(model: &OnnxModel, values: &[f32]) -> Query {
    let own = DecisionModel::signature(model).modalities.clone();
    let rows = values.len() / FEATURES;
    let x = Batch::from_host(own, vec![values.to_vec()], &Device::flex()).unwrap();
    let keys: Vec<u64> = (0..rows as u64).collect();
    Query::one_per_row(x, &keys)
}

fn scores(model: &OnnxModel, values: &[f32]) -> Vec<f32> {
    host(&model.scores(&query(model, values)).unwrap())
}

fn first_largest(row: &[f32]) -> usize {
    let mut best = 0;
    for (i, v) in row.iter().enumerate() {
        if *v > row[best] {
            best = i;
        }
    }
    best
}

/// Returns the class that the file's own output gives to each sample, run one at a time.
fn own_decisions(bytes: &[u8], values: &[f32]) -> Vec<usize> {
    let session = Session::new(file(bytes), &Device::flex()).unwrap();
    values
        .chunks(FEATURES)
        .map(|x| {
            let x = Array::try_new([1, FEATURES], x.to_vec()).unwrap();
            first_largest(&session.run(&[x]).unwrap()[0].to_f32().unwrap())
        })
        .collect()
}

fn decisions(model: &OnnxModel, values: &[f32]) -> Vec<usize> {
    let classes = DecisionModel::signature(model).classes;
    scores(model, values)
        .chunks(classes)
        .map(first_largest)
        .collect()
}

#[track_caller]
fn refused(bytes: &[u8], kind: OutputKind, words: &[&str]) {
    let Err(problem) = bind(bytes, kind) else {
        panic!("{kind} is believed");
    };
    for word in words {
        assert!(problem.contains(word), "no `{word}` in: {problem}");
    }
}

#[test]
fn a_softmax_is_bypassed_only_where_its_groups_are_the_classes_of_a_sample() {
    let axis = |a| [("axis", Attr::Int(a))];
    let x = numbers(40 * FEATURES, 2.0);
    let over = |a| {
        scores_of(1, 3)
            .node("Softmax", &["z"], &["y"], &axis(a))
            .output("y")
            .bytes()
    };
    // A Softmax over the samples makes every value 1, so class 0 wins.
    let none = bind(&over(0), OutputKind::Logits).unwrap();
    assert_eq!(none.scores_note(), None);
    assert_eq!(decisions(&none, &x), vec![0; 40]);
    assert_eq!(decisions(&none, &x), own_decisions(&over(0), &x));
    refused(
        &over(0),
        OutputKind::Probabilities,
        &["`y`", "add up to 3", "--output-kind logits"],
    );
    for a in [1, -1] {
        let model = bind(&over(a), OutputKind::Logits).unwrap();
        assert!(model.scores_note().unwrap().contains("before the Softmax"));
        assert_eq!(decisions(&model, &x), own_decisions(&over(a), &x));
    }
    // Two groups of three become six classes; each group adds up to 1.
    let merged = scores_of(0, 6)
        .integers("split", &[-1, 2, 3])
        .integers("joined", &[-1, 6])
        .node("Reshape", &["z", "split"], &["s"], &[])
        .node("Softmax", &["s"], &["p"], &axis(2))
        .node("Reshape", &["p", "joined"], &["y"], &[])
        .output("y")
        .bytes();
    let model = bind(&merged, OutputKind::Logits).unwrap();
    assert_eq!(model.scores_note(), None);
    // The largest of one group may be as near to 1 as that of the other: values are compared, not which is larger.
    let session = Session::new(file(&merged), &Device::flex()).unwrap();
    for (x, scores) in x.chunks(FEATURES).zip(scores(&model, &x).chunks(6)) {
        let x = Array::try_new([1, FEATURES], x.to_vec()).unwrap();
        let own = session.run(&[x]).unwrap()[0].to_f32().unwrap();
        assert!(
            own.iter().zip(scores).all(|(a, b)| (a - b).abs() < 1e-6),
            "{own:?} {scores:?}"
        );
    }
    let plain = scores_of(0, 6).output("z").bytes();
    assert_ne!(
        own_decisions(&plain, &x),
        own_decisions(&merged, &x),
        "no case"
    );
    refused(&merged, OutputKind::Probabilities, &["add up to 2"]);
    // The maximum over positions is not a distribution.
    let positions = scores_of(0, 6)
        .integers("split", &[-1, 2, 3])
        .integers("axes", &[1])
        .node("Reshape", &["z", "split"], &["s"], &[])
        .node("Softmax", &["s"], &["p"], &axis(2))
        .node(
            "ReduceMax",
            &["p", "axes"],
            &["y"],
            &[("keepdims", Attr::Int(0))],
        )
        .output("y")
        .bytes();
    let model = bind(&positions, OutputKind::Logits).unwrap();
    assert_eq!(model.scores_note(), None);
    assert_eq!(decisions(&model, &x), own_decisions(&positions, &x));
    // Axes of length 1 around the classes change nothing.
    let boxed = scores_of(0, 3)
        .integers("split", &[-1, 3, 1, 1])
        .node("Reshape", &["z", "split"], &["s"], &[])
        .node("Softmax", &["s"], &["p"], &axis(1))
        .node("Flatten", &["p"], &["y"], &[])
        .output("y")
        .bytes();
    let model = bind(&boxed, OutputKind::Probabilities).unwrap();
    assert!(model.scores_note().unwrap().contains("before the Softmax"));
    assert_eq!(decisions(&model, &x), own_decisions(&boxed, &x));
}

/// A Softmax in the graph is not enough: the decisions must be the same as well. And equal decisions on a few samples
/// are not enough if the groups are not the classes.
#[test]
fn a_softmax_is_bypassed_where_both_the_graph_and_the_decisions_allow_it() {
    let x = numbers(40 * FEATURES, 3.0);
    let none = |bytes: &[u8], why: &str| {
        let model = bind(bytes, OutputKind::Logits).unwrap();
        assert_eq!(model.scores_note(), None, "{why}");
        assert_eq!(decisions(&model, &x), own_decisions(bytes, &x), "{why}");
    };
    let weighted = |width: i64, w: &[f32]| {
        OnnxWriter::new(18)
            .input("x", &[0, FEATURES as i64])
            .constant("w", &[FEATURES as i64, width], w)
            .node("MatMul", &["x", "w"], &["z"], &[])
    };
    // Class 1 leads by 1e-8, which the exponential does not resolve: the output decides for class 0.
    let tied = weighted(2, &[0.0, 1e-9].repeat(FEATURES))
        .constant("b", &[2], &[0.0, 1e-8])
        .node("Add", &["z", "b"], &["s"], &[])
        .node("Softmax", &["s"], &["y"], &[])
        .output("y");
    none(&tied.bytes(), "ties");
    // Of two opposite scores the larger wins before and after, beside a group of zeros.
    let groups = weighted(4, &[3.0, -3.0, 0.0, 0.0].repeat(FEATURES))
        .integers("split", &[-1, 2, 2])
        .integers("joined", &[-1, 4])
        .node("Reshape", &["z", "split"], &["s"], &[])
        .node("Softmax", &["s"], &["p"], &[("axis", Attr::Int(2))])
        .node("Reshape", &["p", "joined"], &["y"], &[])
        .output("y");
    none(&groups.bytes(), "groups");
}

/// A file for three samples whose Softmax runs over the samples: the largest values, on the diagonal, stay the largest.
#[test]
fn a_softmax_over_as_many_samples_as_classes_is_not_bypassed() {
    let diagonal = [100.0, 0.0, 0.0, 0.0, 100.0, 0.0, 0.0, 0.0, 100.0];
    let over = |axis| {
        scores_of(3, 3)
            .constant("d", &[3, 3], &diagonal)
            .node("Add", &["z", "d"], &["s"], &[])
            .node("Softmax", &["s"], &["y"], &[("axis", Attr::Int(axis))])
            .output("y")
            .bytes()
    };
    let note = |axis| {
        let model = bind(&over(axis), OutputKind::Logits).unwrap();
        model.scores_note().map(str::to_owned)
    };
    assert_eq!(note(0), None);
    assert!(note(1).is_some_and(|n| n.contains("before the Softmax")));
}

#[test]
fn a_sigmoid_is_bypassed_with_threshold_one_half() {
    // Far below 0: probabilities above 0 and below a half.
    let bytes = scores_of(0, 1)
        .constant("b", &[1], &[-20.0])
        .node("Add", &["z", "b"], &["s"], &[])
        .node("Sigmoid", &["s"], &["y"], &[])
        .output("y")
        .bytes();
    for kind in [OutputKind::Logits, OutputKind::Probabilities] {
        let model = bind(&bytes, kind).unwrap();
        let note = model.scores_note().unwrap();
        assert!(note.contains("before the Sigmoid"), "{note}");
    }
}

#[test]
fn before_opset_13_a_softmax_spans_all_axes_from_its_own_on() {
    let old = |axis: i64| {
        OnnxWriter::new(11)
            .input("x", &[0, 2, 2])
            .node("Softmax", &["x"], &["p"], &[("axis", Attr::Int(axis))])
            .node("Flatten", &["p"], &["y"], &[])
            .output("y")
            .bytes()
    };
    let x = numbers(20 * FEATURES, 1.0);
    let sees = |axis| {
        let model = bind(&old(axis), OutputKind::Logits).unwrap();
        let expected: Vec<usize> = x
            .chunks(FEATURES)
            .map(|x| {
                let session = Session::new(file(&old(axis)), &Device::flex()).unwrap();
                let x = Array::try_new([1, 2, 2], x.to_vec()).unwrap();
                first_largest(&session.run(&[x]).unwrap()[0].to_f32().unwrap())
            })
            .collect();
        assert_eq!(decisions(&model, &x), expected, "axis {axis}");
        model.scores_note().is_some()
    };
    assert!(sees(1));
    assert!(!sees(2));
}

#[test]
fn log_probabilities_are_valid_logits_but_not_probabilities() {
    let x = numbers(10 * FEATURES, 2.0);
    let log = scores_of(0, 3)
        .node("LogSoftmax", &["z"], &["y"], &[("axis", Attr::Int(1))])
        .output("y")
        .bytes();
    let model = bind(&log, OutputKind::Logits).unwrap();
    assert!(model.scores_note().unwrap().contains("log-probabilities"));
    assert!(!model.cured_probabilities());
    assert_eq!(decisions(&model, &x), own_decisions(&log, &x));
    let sums: Vec<f32> = scores(&model, &x)
        .chunks(3)
        .map(|r| r.iter().map(|v| v.exp()).sum())
        .collect();
    assert!(sums.iter().all(|s| (s - 1.0).abs() < 1e-5), "{sums:?}");
    refused(
        &log,
        OutputKind::Probabilities,
        &["log-probabilities", "--output-kind logits"],
    );
    // The same in two steps; classes far behind have the logarithm of 0.
    let far = scores_of(0, 3)
        .constant("k", &[1], &[1000.0])
        .node("Mul", &["z", "k"], &["s"], &[])
        .node("Softmax", &["s"], &["p"], &[("axis", Attr::Int(1))])
        .node("Log", &["p"], &["y"], &[])
        .output("y")
        .bytes();
    refused(&far, OutputKind::Probabilities, &["log-probabilities"]);
    let model = bind(&far, OutputKind::Logits).unwrap();
    assert!(scores(&model, &x).iter().all(|s| s.is_finite()));
    assert_eq!(decisions(&model, &x), own_decisions(&far, &x));
    // Without such a node, the values show it.
    let composed = scores_of(0, 3)
        .integers("axes", &[1])
        .node(
            "ReduceLogSumExp",
            &["z", "axes"],
            &["l"],
            &[("keepdims", Attr::Int(1))],
        )
        .node("Sub", &["z", "l"], &["y"], &[])
        .output("y")
        .bytes();
    assert!(bind(&composed, OutputKind::Logits).is_ok());
    refused(
        &composed,
        OutputKind::Probabilities,
        &["looks like log-probabilities"],
    );
}

#[test]
fn probabilities_are_checked_wherever_they_are_not_seen_to_be_made() {
    let plain = scores_of(0, 3).output("z").bytes();
    refused(
        &plain,
        OutputKind::Probabilities,
        &[
            "`z`",
            "outside [0, 1]",
            "looks like logits",
            "--output-kind logits",
        ],
    );
    let sigmoids = scores_of(0, 3)
        .node("Sigmoid", &["z"], &["y"], &[])
        .output("y")
        .bytes();
    refused(
        &sigmoids,
        OutputKind::Probabilities,
        &["add up to", "a probability for each"],
    );
    assert!(bind(&sigmoids, OutputKind::Logits).is_ok());
    // Squares divided by their sum: probabilities without a Softmax.
    let shares = scores_of(0, 3)
        .integers("axes", &[1])
        .node("Mul", &["z", "z"], &["s"], &[])
        .node("ReduceSum", &["s", "axes"], &["t"], &[])
        .node("Div", &["s", "t"], &["y"], &[])
        .output("y")
        .bytes();
    let x = numbers(30 * FEATURES, 2.0);
    let model = bind(&shares, OutputKind::Probabilities).unwrap();
    assert!(model.scores_note().unwrap().contains("logarithms"));
    assert_eq!(decisions(&model, &x), own_decisions(&shares, &x));
}

#[test]
fn one_output_is_a_logit_or_a_probability_of_class_1() {
    let x = numbers(30 * FEATURES, 2.0);
    let z: Vec<f32> = {
        let session = Session::new(file(&scores_of(0, 1).output("z").bytes()), &Device::flex());
        let x = Array::try_new([30, FEATURES], x.clone()).unwrap();
        session.unwrap().run(&[x]).unwrap()[0].to_f32().unwrap()
    };
    let expected: Vec<usize> = z.iter().map(|z| usize::from(*z > 0.0)).collect();
    assert!(expected.contains(&0) && expected.contains(&1));
    let raw = scores_of(0, 1).output("z").bytes();
    // Squeezed to `[n]`, for any number of samples and for one.
    let squeezed = |rows| {
        scores_of(rows, 1)
            .integers("axes", &[1])
            .node("Squeeze", &["z", "axes"], &["y"], &[])
            .output("y")
            .bytes()
    };
    for bytes in [&raw, &squeezed(0), &squeezed(1)] {
        let model = bind(bytes, OutputKind::Logit).unwrap();
        assert_eq!(DecisionModel::signature(&model).classes, 2);
        assert_eq!(decisions(&model, &x), expected);
        for (pair, z) in scores(&model, &x).chunks(2).zip(&z) {
            assert!((pair[1] - pair[0] - z).abs() < 1e-5);
        }
        let told = ["--output-kind logit", "--output-kind probabilities"];
        refused(bytes, OutputKind::Logits, &told);
        refused(
            bytes,
            OutputKind::Probabilities,
            &["outside [0, 1]", "raw score", "--output-kind logit"],
        );
    }
    for op in ["Sigmoid", "HardSigmoid"] {
        let bytes = scores_of(0, 1)
            .node(op, &["z"], &["p"], &[])
            .node("Flatten", &["p"], &["y"], &[])
            .output("y")
            .bytes();
        let model = bind(&bytes, OutputKind::Probabilities).unwrap();
        assert_eq!(decisions(&model, &x), expected, "{op}");
        if op == "Sigmoid" {
            assert_eq!(
                decisions(&bind(&bytes, OutputKind::Logits).unwrap(), &x),
                expected
            );
            refused(
                &bytes,
                OutputKind::Logit,
                &["comes out of a Sigmoid", "never below 0"],
            );
        }
    }
    // A tie is class 0, and several scores are not a logit.
    let model = bind(&raw, OutputKind::Logit).unwrap();
    assert_eq!(decisions(&model, &[0.0; FEATURES]), [0]);
    let three = scores_of(0, 3).output("z").bytes();
    refused(
        &three,
        OutputKind::Logit,
        &["3 scores", "--output-kind logits"],
    );
}

#[test]
fn a_truncated_probability_is_not_traced_back_to_its_sigmoid() {
    // Truncated to an integer, a probability is 0.
    let bytes = scores_of(0, 1)
        .node("Sigmoid", &["z"], &["p"], &[])
        .node("Cast", &["p"], &["i"], &[("to", Attr::Int(7))])
        .node("Cast", &["i"], &["y"], &[("to", Attr::Int(1))])
        .output("y")
        .bytes();
    refused(
        &bytes,
        OutputKind::Logits,
        &["does not come out of a Sigmoid"],
    );
    let model = bind(&bytes, OutputKind::Probabilities).unwrap();
    let x = numbers(30 * FEATURES, 2.0);
    assert_eq!(decisions(&model, &x), vec![0; 30]);
}

#[test]
fn the_gradient_of_a_logit_is_that_of_its_score() {
    let bytes = scores_of(0, 1).output("z").bytes();
    let model = bind(&bytes, OutputKind::Logit).unwrap();
    let x = numbers(2 * FEATURES, 2.0);
    let difference = |scores: &Tensor<2>, _: &Batch| {
        let s = scores.clone();
        (s.clone().narrow(1, 1, 1) - s.narrow(1, 0, 1)).squeeze_dim::<1>(1)
    };
    let gradient = model.gradient(&query(&model, &x), &difference).unwrap();
    let weights: Vec<f32> = numbers(FEATURES, 0.4).iter().map(|w| 3.0 * w).collect();
    for row in host(&gradient.gradient.blocks()[0]).chunks(FEATURES) {
        for (a, b) in row.iter().zip(&weights) {
            assert!((a - b).abs() < 1e-5, "{row:?} {weights:?}");
        }
    }
}

/// Activations count the elements of one sample on the way to the scores, whatever number of samples the file takes at
/// once.
#[test]
fn activations_are_counted_per_sample() {
    for rows in [0, 1, 8] {
        let net = scores_of(rows, 3).node("Relu", &["z"], &["r"], &[]);
        let net = net.output("r").bytes();
        let model = bind(&net, OutputKind::Logits).expect("a model");
        let signature = DecisionModel::signature(&model);
        assert_eq!(signature.activations, Some(FEATURES + 3 + 3), "{rows} rows");
    }
}
