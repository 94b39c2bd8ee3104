//! Counterexample search on networks with sign activations, whose gradients are zero and whose scores move in steps.

use std::fmt::Write as _;

use proofmark::data::vnnlib::{self, Spec};
use proofmark::domain::Seed;
use proofmark::engine::Access;
use proofmark::engine::random::{Purpose, Stream, StreamKey};
use proofmark::{Falsified, Falsify, ModelSource, OpenModel};
use proofmark_onnx::writer::{Attr, OnnxWriter};

/// Units of the layered network, and inputs of each.
const UNITS: usize = 30;
const EACH: usize = 10;

fn stream(seed: u64) -> Stream {
    Stream::new(&StreamKey::new(Seed(seed), 0, Purpose::Data))
}

fn signs(n: usize, seed: u64) -> Vec<f32> {
    let mut stream = stream(seed);
    (0..n)
        .map(|_| {
            if stream.next_u32() & 1 == 0 {
                1.0
            } else {
                -1.0
            }
        })
        .collect()
}

/// Every unit is the sign of a sum of ten inputs of its own, each with a sign, less a threshold; `share` is the
/// threshold as a share of the largest sum in the box `[-1, 1]`. The first score is the sum of the units, the second 0.
fn units(share: impl Fn(usize) -> f32) -> OnnxWriter {
    let (inputs, units) = ((UNITS * EACH) as i64, UNITS as i64);
    let own = signs(UNITS * EACH, 1);
    let mut weights = vec![0.0; UNITS * EACH * UNITS];
    for (i, sign) in own.iter().enumerate() {
        weights[i * UNITS + i / EACH] = *sign;
    }
    let thresholds: Vec<f32> = (0..UNITS).map(|j| -share(j) * EACH as f32).collect();
    let sums: Vec<f32> = (0..UNITS).flat_map(|_| [1.0, 0.0]).collect();
    OnnxWriter::new(13)
        .input("x", &[1, inputs])
        .constant("w", &[inputs, units], &weights)
        .constant("t", &[units], &thresholds)
        .constant("s", &[units, 2], &sums)
        .node("MatMul", &["x", "w"], &["a"], &[])
        .node("Add", &["a", "t"], &["z"], &[])
        .node("Sign", &["z"], &["h"], &[])
        .node("MatMul", &["h", "s"], &["y"], &[])
        .output("y")
}

/// A network of two convolutions over an image of grey levels, `[1, 14, 14, 3]`, with 5 classes.
fn convolutional() -> OnnxWriter {
    OnnxWriter::new(13)
        .input("x", &[1, 14, 14, 3])
        .constant("c1", &[16, 3, 3, 3], &signs(16 * 27, 2))
        .constant("c2", &[16, 16, 3, 3], &signs(16 * 144, 3))
        .constant("d", &[1600, 5], &signs(1600 * 5, 4))
        .constant("tenth", &[], &[0.1])
        .integers("flat", &[1, -1])
        .node(
            "Transpose",
            &["x"],
            &["nchw"],
            &[("perm", Attr::Ints(vec![0, 3, 1, 2]))],
        )
        .node("Conv", &["nchw", "c1"], &["a"], &[])
        .node("Sign", &["a"], &["a1"], &[])
        .node("Add", &["a1", "tenth"], &["a2"], &[])
        .node("Sign", &["a2"], &["a3"], &[])
        .node("Conv", &["a3", "c2"], &["b"], &[])
        .node(
            "Transpose",
            &["b"],
            &["nhwc"],
            &[("perm", Attr::Ints(vec![0, 2, 3, 1]))],
        )
        .node("Reshape", &["nhwc", "flat"], &["f"], &[])
        .node("Sign", &["f"], &["g"], &[])
        .node("MatMul", &["g", "d"], &["y"], &[])
        .output("y")
}

fn property(bounds: &[(f64, f64)], outputs: usize, assertion: &str) -> Spec {
    let mut text = String::new();
    for (i, (low, high)) in bounds.iter().enumerate() {
        let _ = writeln!(
            text,
            "(declare-const X_{i} Real)(assert (>= X_{i} {low:?}))(assert (<= X_{i} {high:?}))"
        );
    }
    for j in 0..outputs {
        let _ = writeln!(text, "(declare-const Y_{j} Real)");
    }
    vnnlib::parse("property", text + assertion).unwrap()
}

fn open(net: OnnxWriter, spec: &Spec) -> OpenModel {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("net.onnx");
    std::fs::write(&path, net.bytes()).unwrap();
    let source = ModelSource::new(path.display().to_string());
    source
        .open_property(spec, &proofmark::device("cpu").unwrap())
        .unwrap()
}

fn search(model: &OpenModel, spec: &Spec, seed: u64, levels: u32) -> Falsified {
    let mut search = Falsify::new(Access::Gradients(model.model.as_ref()), spec);
    search.seed = Seed(seed);
    search.levels = Some(levels);
    search.run().unwrap()
}

/// Asserts that a counterexample was found that lies in its box and satisfies its case.
#[track_caller]
fn assert_found(result: &Falsified, spec: &Spec) {
    let nearest = result.nearest;
    let point = result.counterexample.as_ref();
    let point = point.unwrap_or_else(|| panic!("nearest {nearest:?}"));
    let case = &spec.cases[point.case];
    assert!(case.inputs.contains(&point.x) && case.satisfied(&point.y));
    assert_eq!(point.margin, case.margin(&point.y));
}

#[test]
fn the_exact_maximum_of_a_layer_of_signs_is_reached_and_never_exceeded() {
    // A unit above 1 cannot be reached; the others need nearly all of their inputs at the right end. All but three are
    // reachable, so the largest score is 27 - 3.
    let share = |j: usize| if j.is_multiple_of(10) { 1.01 } else { 0.9 };
    let bounds = vec![(-1.0, 1.0); UNITS * EACH];
    for seed in 0..3 {
        let spec = property(&bounds, 2, "(assert (>= Y_0 24))");
        let model = open(units(share), &spec);
        assert_found(&search(&model, &spec, seed, 3), &spec);
        let spec = property(&bounds, 2, "(assert (>= Y_0 24.5))");
        let none = search(&model, &spec, seed, 2);
        assert_eq!(none.counterexample, None);
        // Nearness is that of the scores themselves, not of the finer ones.
        assert_eq!(none.nearest, Some(-0.5));
    }
}

#[test]
fn without_gradients_the_same_network_is_searched_at_random() {
    let spec = property(&[(-1.0, 1.0); UNITS * EACH], 2, "(assert (>= Y_0 -20))");
    let model = open(units(|_| 0.2), &spec);
    let mut search = Falsify::new(Access::Scores(model.model.as_ref()), &spec);
    search.levels = Some(3);
    let result = search.run().unwrap();
    assert_found(&result, &spec);
    assert_eq!(result.queries.backward, 0);
}

#[test]
fn a_class_is_overtaken_in_a_convolutional_network_of_signs() {
    let mut stream = stream(5);
    let centre: Vec<f64> = (0..14 * 14 * 3)
        .map(|_| f64::from((stream.uniform() * 255.0).round()))
        .collect();
    let bounds = |eps: f64| {
        centre
            .iter()
            .map(|v| (v - eps, v + eps))
            .collect::<Vec<_>>()
    };
    let still = property(&bounds(0.0), 5, "(assert (<= Y_0 -10000))");
    let model = open(convolutional(), &still);
    // What the centre's scores are is read from a search that has nowhere to go.
    let margin = search(
        &model,
        &property(&bounds(0.0), 5, "(assert (<= Y_0 10000))"),
        0,
        1,
    );
    let at_centre = margin.counterexample.unwrap().y;
    let all: Vec<String> = (1..5).map(|j| format!("(>= (- Y_{j} Y_0) 450)")).collect();
    let hard = property(
        &bounds(20.0),
        5,
        &format!("(assert (or {}))", all.join(" ")),
    );
    let model = open(convolutional(), &hard);
    assert!(
        at_centre[1..].iter().all(|y| y - at_centre[0] < 450.0),
        "{at_centre:?}"
    );
    let result = search(&model, &hard, 0, 2);
    assert_found(&result, &hard);
    let x = &result.counterexample.as_ref().unwrap().x;
    assert!(
        x.iter().all(|v| (v * 2.0).fract() == 0.0),
        "on a coarse grid"
    );
    // The same, whatever the number of threads; another seed finds another point.
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .build()
        .unwrap();
    assert_eq!(pool.install(|| search(&model, &hard, 0, 2)), result);
    assert_ne!(
        search(&model, &hard, 1, 2).counterexample,
        result.counterexample
    );
    // No score is larger than the number of values that it sums.
    let never = property(&bounds(20.0), 5, "(assert (>= (- Y_1 Y_0) 3202))");
    assert_eq!(search(&model, &never, 0, 1).counterexample, None);
}
