//! Counterexample search on networks whose satisfiable region is known exactly.

use std::fmt::Write as _;

use burn::tensor::{Device, Tensor, TensorData, activation::relu};
use proofmark::data::vnnlib::{self, Spec};
use proofmark::domain::{Bounds, Kind, Modality, Seed};
use proofmark::engine::Access;
use proofmark::models::{BurnModel, ScoreModel};
use proofmark::{Counterexample, Falsified, Falsify};

/// Returns a network over inputs of these lengths, which `forward` gets as one block.
fn network(
    inputs: &[usize],
    outputs: usize,
    forward: impl Fn(Tensor<2>) -> Tensor<2> + Send + Sync + 'static,
) -> BurnModel {
    let modality = |(i, n): (usize, &usize)| Modality {
        name: format!("x{i}"),
        kind: Kind::Table,
        shape: vec![*n],
        bounds: Bounds::uniform(-1.0, 1.0).unwrap(),
    };
    let modalities = inputs.iter().enumerate().map(modality).collect();
    BurnModel::closure(modalities, outputs, &Device::flex(), move |x| {
        forward(Tensor::cat(x.to_vec(), 1))
    })
    .unwrap()
}

/// Returns `rows x columns` numbers in [-1, 1), always the same for a seed.
fn numbers(rows: usize, columns: usize, seed: u64) -> Vec<f32> {
    use proofmark::engine::random::{Purpose, Stream, StreamKey};
    let mut stream = Stream::new(&StreamKey::new(Seed(seed), 0, Purpose::Data));
    (0..rows * columns)
        .map(|_| stream.uniform().mul_add(2.0, -1.0))
        .collect()
}

fn matrix(values: &[f32], rows: usize, columns: usize) -> Tensor<2> {
    Tensor::from_data(
        TensorData::new(values.to_vec(), [rows, columns]),
        &Device::flex(),
    )
}

/// Returns a property with every input in its `[low, high]`.
fn within(bounds: &[(f64, f64)], outputs: usize, assertion: &str) -> Spec {
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

fn search(model: &BurnModel, spec: &Spec, levels: u32) -> Falsified {
    let mut search = Falsify::new(Access::Gradients(model), spec);
    search.levels = Some(levels);
    search.run().unwrap()
}

/// Returns the counterexample, checked once more here.
#[track_caller]
fn found(model: &BurnModel, spec: &Spec, levels: u32) -> Counterexample {
    let result = search(model, spec, levels);
    let nearest = result.nearest;
    let point = result
        .counterexample
        .unwrap_or_else(|| panic!("nearest {nearest:?}"));
    let case = &spec.cases[point.case];
    assert!(case.inputs.contains(&point.x) && case.satisfied(&point.y));
    assert_eq!(point.margin, case.margin(&point.y));
    assert!(point.margin >= 0.0 && nearest.is_none());
    point
}

#[track_caller]
fn not_found(model: &BurnModel, spec: &Spec, levels: u32) -> Falsified {
    let result = search(model, spec, levels);
    assert_eq!(result.counterexample, None);
    assert_eq!(result.levels, levels);
    result
}

#[test]
fn a_linear_maximum_is_reached_and_never_exceeded() {
    // The maximum of w x over a box is w mid + |w| half: just below it there is a point, just above it none.
    for (seed, n) in [(1, 2), (2, 7), (3, 40), (4, 200)] {
        let w = numbers(n, 2, seed);
        let boxes: Vec<(f64, f64)> = numbers(n, 2, seed + 100)
            .chunks(2)
            .map(|c| (f64::from(c[0].min(c[1])), f64::from(c[0].max(c[1]))))
            .collect();
        let best: f64 = boxes
            .iter()
            .enumerate()
            .map(|(i, (low, high))| {
                let a = f64::from(w[2 * i]) - f64::from(w[2 * i + 1]);
                (a * low).max(a * high)
            })
            .sum();
        let values = w.clone();
        let model = network(&[n], 2, move |x| x.matmul(matrix(&values, n, 2)));
        let spec = |bound: f64| within(&boxes, 2, &format!("(assert (>= (- Y_0 Y_1) {bound:?}))"));
        let spare = 1e-4 * best.abs().max(1.0);
        found(&model, &spec(best - spare), 1);
        let result = not_found(&model, &spec(best + spare), 2);
        let nearest = f64::from(result.nearest.unwrap());
        assert!(nearest < 0.0 && nearest > -2.0 * spare, "{nearest} {spare}");
    }
}

#[test]
fn an_impossible_property_of_a_piecewise_linear_network_is_never_satisfied() {
    for seed in 0..6 {
        let (n, hidden) = (12, 30);
        let (w1, w2) = (numbers(n, hidden, seed), numbers(hidden, 3, seed + 50));
        // Interval bounds: hidden units lie in [0, sum of |w|], outputs below the sum of the terms that raise them.
        let top: Vec<f64> = (0..hidden)
            .map(|h| (0..n).map(|i| f64::from(w1[i * hidden + h].abs())).sum())
            .collect();
        let bound: f64 = (0..hidden)
            .map(|h| top[h] * f64::from(w2[3 * h].max(0.0)))
            .sum();
        let model = network(&[n], 3, move |x| {
            relu(x.matmul(matrix(&w1, n, hidden))).matmul(matrix(&w2, hidden, 3))
        });
        let unit = [(-1.0, 1.0); 12];
        not_found(
            &model,
            &within(&unit, 3, &format!("(assert (>= Y_0 {bound:?}))")),
            2,
        );
        // The outputs at the middle of the box satisfy this property.
        found(
            &model,
            &within(
                &unit,
                3,
                "(assert (<= Y_0 0))(assert (<= Y_1 0))(assert (<= Y_2 0))",
            ),
            1,
        );
    }
}

#[test]
fn a_tiny_corner_behind_flat_ground_is_found() {
    // Only x_i >= 0.99 for all eight inputs satisfies it, and below 0.9 an input has no gradient.
    let model = network(&[8], 2, |x| {
        let sum = relu(x.sub_scalar(0.9)).sum_dim(1);
        Tensor::cat(vec![sum.clone().mul_scalar(10.0), sum.zeros_like()], 1)
    });
    let unit = [(0.0, 1.0); 8];
    let point = found(&model, &within(&unit, 2, "(assert (>= Y_0 7.9))"), 4);
    assert!(point.x.iter().all(|x| *x >= 0.89), "{:?}", point.x);
    not_found(&model, &within(&unit, 2, "(assert (>= Y_0 8.001))"), 2);
}

#[test]
fn a_binarised_network_without_gradients_is_falsified() {
    // y_0 is the number of inputs above their threshold minus the others; all but two must be above.
    let n = 30;
    let thresholds = numbers(1, n, 9);
    let model = network(&[n], 2, move |x| {
        let sides = (x - matrix(&thresholds, 1, n).mul_scalar(0.8)).sign();
        let sum = sides.sum_dim(1);
        Tensor::cat(vec![sum.clone(), sum.zeros_like()], 1)
    });
    let spec = |bound| within(&[(-1.0, 1.0); 30], 2, &format!("(assert (>= Y_0 {bound}))"));
    found(&model, &spec(25), 3);
    // Zero gradients are requested only for the 64 rows of the first 20 steps.
    assert_eq!(not_found(&model, &spec(31), 3).queries.backward, 64 * 20);
    // Scores alone suffice, too.
    let spec = spec(25);
    let scores: &dyn ScoreModel = &model;
    let mut plan = Falsify::new(Access::Scores(scores), &spec);
    plan.levels = Some(3);
    let result = plan.run().unwrap();
    assert!(result.counterexample.is_some());
    assert_eq!(result.queries.backward, 0);
}

#[test]
fn gradients_that_lead_astray_do_not_hide_a_point() {
    // Success depends on the number of inputs beyond 0.9 on their side, which has no slope; the slope there is moves
    // all inputs the same way, up or down, while their sides alternate.
    let n = 24;
    let sides: Vec<f32> = (0..n)
        .map(|i| if i % 2 == 0 { 1.0 } else { -1.0 })
        .collect();
    let model = network(&[n], 2, move |x| {
        let counted = (x.clone() * matrix(&sides, 1, n) - 0.9).sign().sum_dim(1);
        let y = counted - x.sum_dim(1).mul_scalar(0.01);
        Tensor::cat(vec![y.clone(), y.zeros_like()], 1)
    });
    found(
        &model,
        &within(&[(-1.0, 1.0); 24], 2, "(assert (>= Y_0 23.8))"),
        4,
    );
}

#[test]
fn starts_on_flat_ground_reach_the_slope() {
    // Uniform points have a sum of absolute values near 50; the slope starts beyond 80.
    let model = network(&[100], 2, |x| {
        let beyond = relu(x.abs().sum_dim(1) - 80.0);
        Tensor::cat(vec![beyond.clone(), beyond.neg()], 1)
    });
    found(
        &model,
        &within(&[(-1.0, 1.0); 100], 2, "(assert (>= Y_0 19))"),
        1,
    );
}

#[test]
fn the_satisfiable_case_is_found_among_several() {
    let model = network(&[2], 2, |x| x.clone() * x);
    let unit = [(-1.0, 1.0); 2];
    // Squares are neither negative nor above 1; the third case wants both between 0.25 and 0.2501.
    let spec = within(
        &unit,
        2,
        "(assert (or (<= Y_0 -0.01) (and (>= Y_0 1.01) (<= Y_1 0.5)) (and (>= Y_0 0.25) (<= Y_0 0.2501) (>= Y_1 0.25) (<= Y_1 0.2501)) (<= (+ Y_0 Y_1) -1)))",
    );
    assert_eq!(found(&model, &spec, 4).case, 2);
    // The same with input boxes: only the last case can be satisfied.
    let spec = within(
        &unit,
        2,
        "(assert (or (and (<= X_0 -0.9) (<= Y_0 0.8)) (and (<= X_0 0.1) (>= X_0 -0.1) (>= Y_0 0.02)) (and (>= X_0 0.5) (<= Y_0 0.26) (>= Y_1 0.9))))",
    );
    let point = found(&model, &spec, 4);
    assert!(
        point.case == 2 && (0.5..0.51).contains(&point.x[0]),
        "{point:?}"
    );
    // Two hundred cases, more than rows at a time; only the last can be satisfied.
    let mut cases: Vec<String> = (1..200).map(|i| format!("(>= Y_0 {i}.5)")).collect();
    cases.push("(and (>= Y_0 0.7) (<= Y_1 0.1))".into());
    let spec = within(&unit, 2, &format!("(assert (or {}))", cases.join(" ")));
    assert_eq!(found(&model, &spec, 4).case, 199);
}

#[test]
fn the_same_seed_finds_the_same_point_and_another_seed_another() {
    let w = numbers(20, 3, 3);
    let model = network(&[20], 3, move |x| relu(x.matmul(matrix(&w, 20, 3))));
    let spec = within(
        &[(-1.0, 1.0); 20],
        3,
        "(assert (or (and (>= Y_0 2) (<= Y_1 0.1)) (>= Y_2 30)))",
    );
    let with = |seed| {
        let mut search = Falsify::new(Access::Gradients(&model), &spec);
        search.seed = Seed(seed);
        search.run().unwrap()
    };
    assert_eq!(with(1), with(1));
    assert!(with(1).counterexample.is_some());
    assert_ne!(with(1).counterexample, with(2).counterexample);
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .build()
        .unwrap();
    assert_eq!(pool.install(|| with(1)), with(1));
}

#[test]
fn inputs_that_cannot_move_stay_where_they_are_in_64_bits() {
    let model = network(&[3], 2, |x| {
        Tensor::cat(vec![x.clone().sum_dim(1), x.sum_dim(1).neg()], 1)
    });
    // 0.1 is not a 32-bit float, and there is none between the bounds of the second input.
    let bounds = [(0.1, 0.1), (1.0 + 1e-9, 1.0 + 2e-9), (0.0, 1.0)];
    let spec = within(&bounds, 2, "(assert (>= Y_0 2))");
    let point = found(&model, &spec, 2);
    assert_eq!(point.x[0], 0.1);
    assert!(point.x[1] > 1.0 && point.x[1] as f32 == 1.0);
    // No input can move: the search evaluates the one point.
    let still = [(0.1, 0.1), (0.25, 0.25), (0.5, 0.5)];
    found(&model, &within(&still, 2, "(assert (>= Y_0 0.84))"), 1);
    not_found(&model, &within(&still, 2, "(assert (>= Y_0 0.86))"), 2);
}

#[test]
fn a_point_that_does_not_stand_up_alone_is_none() {
    // The model satisfies the property only for batches of several rows.
    let model = network(&[2], 2, |x| match x.dims()[0] {
        1 => x.zeros_like(),
        _ => x.zeros_like().add_scalar(1.0),
    });
    let spec = within(&[(0.0, 1.0); 2], 2, "(assert (>= Y_0 0.5))");
    not_found(&model, &spec, 2);
}

#[test]
fn several_inputs_are_concatenated() {
    let model = network(&[1, 2], 2, |x| {
        let one = x.clone().slice([0..x.dims()[0], 0..1]);
        let three = x.clone().slice([0..x.dims()[0], 2..3]);
        Tensor::cat(vec![one, three], 1)
    });
    let spec = within(
        &[(0.0, 1.0), (-5.0, -4.0), (10.0, 20.0)],
        2,
        "(assert (>= Y_0 0.9))(assert (>= Y_1 19))",
    );
    let point = found(&model, &spec, 2);
    assert!(point.x[0] >= 0.9 && point.x[2] >= 19.0);
    let text = point.to_text();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!((lines.len(), lines[0]), (6, "sat"));
    assert_eq!(lines[1], format!("((X_0 {:?})", point.x[0]));
    assert_eq!(lines[5], format!("(Y_1 {:?}))", f64::from(point.y[1])));
}

#[test]
fn ties_strictness_and_non_finite_outputs() {
    // A constant output: equality suffices unless the inequality is strict.
    let one = network(&[2], 2, |x| x.zeros_like().add_scalar(1.0));
    let unit = [(0.0, 1.0); 2];
    assert_eq!(
        found(&one, &within(&unit, 2, "(assert (<= Y_0 1))"), 1).margin,
        0.0
    );
    found(&one, &within(&unit, 2, "(assert (= Y_0 Y_1))"), 1);
    not_found(&one, &within(&unit, 2, "(assert (< Y_0 1))"), 2);
    not_found(&one, &within(&unit, 2, "(assert (< Y_0 Y_1))"), 2);
    // Without constraints any point satisfies the property.
    found(&one, &within(&unit, 2, ""), 1);
    // Outputs that are not finite satisfy nothing, not even without constraints.
    let broken = network(&[2], 2, |x| (x - 2.0).log());
    not_found(&broken, &within(&unit, 2, ""), 1);
    not_found(&broken, &within(&unit, 2, "(assert (<= Y_0 1))"), 1);
}

#[test]
fn bounds_between_floats_are_never_crossed() {
    // The best point is a corner of the box, whose ends are not 32-bit floats.
    let model = network(&[2], 2, |x| x);
    let (low, high) = (0.1 + 1e-10, 0.3 - 1e-10);
    let spec = within(
        &[(low, high); 2],
        2,
        "(assert (>= Y_0 0.2999999))(assert (<= Y_1 0.1000001))",
    );
    let point = found(&model, &spec, 2);
    assert!(point.x[0] <= high && point.x[1] >= low);
}

#[test]
fn a_search_that_is_stopped_at_once_has_found_nothing() {
    let model = network(&[2], 2, |x| x);
    let spec = within(&[(0.0, 1.0); 2], 2, "(assert (>= Y_0 0.5))");
    let mut search = Falsify::new(Access::Gradients(&model), &spec);
    search.levels = None;
    search.stop = &|| true;
    let result = search.run().unwrap();
    assert_eq!(
        (result.counterexample, result.levels, result.queries.forward),
        (None, 0, 0)
    );
}

#[test]
fn models_that_do_not_fit_are_refused() {
    let model = network(&[3], 2, |x| x.clone().slice([0..x.dims()[0], 0..2]));
    let says = |spec: &Spec, access: Access<'_>, words: &[&str]| {
        let error = Falsify::new(access, spec).run().unwrap_err().to_string();
        for word in words {
            assert!(error.contains(word), "no `{word}` in: {error}");
        }
    };
    let unit = [(0.0, 1.0); 3];
    says(
        &within(&unit[..2], 2, ""),
        Access::Gradients(&model),
        &["property", "2 inputs", "takes 3"],
    );
    says(
        &within(&unit, 3, ""),
        Access::Gradients(&model),
        &["3 outputs", "gives 2"],
    );
    says(
        &within(&unit, 2, ""),
        Access::Decisions(&model),
        &["needs scores"],
    );
}
