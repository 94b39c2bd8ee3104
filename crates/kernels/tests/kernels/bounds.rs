//! Bounds against what networks compute: at corners, at random points, by hand.

use proofmark_kernels::{
    BoundError, Builder, Clamp, Convolution, Function, Isa, Map, Method, Program, Scale, Window,
};
use proptest::prelude::*;

use crate::reference::{Twin, scattered};
use crate::whole;

const BOTH: [Method; 2] = [Method::Interval, Method::Linear];

/// Rows of a box: its corners as far as there are few, its middle, and points at random with some features at an end.
fn rows_of(low: &[f32], high: &[f32], count: usize, seed: u64) -> Vec<Vec<f32>> {
    let n = low.len();
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 24) as f32
    };
    let mut rows = Vec::new();
    for k in 0..count {
        let row = (0..n).map(|i| {
            let (l, h) = (low[i], high[i]);
            let u = next();
            let at_corner = k % 3 != 0 || u < 0.3;
            let inside = l + (h - l) * next();
            match (at_corner, u * 7.0 % 1.0 < 0.5) {
                (true, true) => l,
                (true, false) => h,
                _ => inside.clamp(l, h),
            }
        });
        rows.push(row.collect());
    }
    rows.push(low.to_vec());
    rows.push(high.to_vec());
    if n <= 10 {
        for corner in 0..1u32 << n {
            let ends = |i: usize| {
                if corner >> i & 1 == 1 {
                    high[i]
                } else {
                    low[i]
                }
            };
            rows.push((0..n).map(ends).collect());
        }
    }
    rows
}

fn wide(v: &[f32]) -> Vec<f64> {
    v.iter().copied().map(f64::from).collect()
}

/// Checks that no row of the box leaves the bounds of the outputs and of their differences, and that following lines back
/// is never worse than intervals.
fn assert_sound(twin: &Twin, low: &[f32], high: &[f32], count: usize, seed: u64) {
    let program = twin.program();
    let network = twin.compiled(Isa::detect());
    let rows = rows_of(low, high, count, seed);
    let outputs: Vec<f32> = network.forward(&rows.concat());
    let n = program.outputs();
    let (low, high) = (wide(low), wide(high));
    let mut lower = Vec::new();
    for method in BOTH {
        let [least, most] = program.outputs_over(&low, &high, method).unwrap();
        for out in outputs.chunks(n) {
            for i in 0..n {
                let v = f64::from(out[i]);
                assert!(
                    least[i] <= v && v <= most[i],
                    "{method:?}: output {i} is {v}, outside {} to {}",
                    least[i],
                    most[i]
                );
            }
        }
        let margins = program.margins(&low, &high, 0, method).unwrap();
        for out in outputs.chunks(n) {
            for (i, margin) in (1..n).zip(&margins) {
                let v = f64::from(out[0]) - f64::from(out[i]);
                assert!(
                    *margin <= v,
                    "{method:?}: margin over {i} is {v}, below {margin}"
                );
            }
        }
        lower.push(margins);
    }
    for (interval, linear) in lower[0].iter().zip(&lower[1]) {
        assert!(linear >= interval, "{linear} is worse than {interval}");
    }
}

/// A box around scattered points inside [-1, 1], with some features frozen.
fn around(features: usize, eps: f32, seed: usize) -> (Vec<f32>, Vec<f32>) {
    let centre = scattered(features, seed);
    let radius = |i: usize| if (i + seed) % 7 == 3 { 0.0 } else { eps };
    let low = centre
        .iter()
        .enumerate()
        .map(|(i, c)| c - radius(i))
        .collect();
    let high = centre
        .iter()
        .enumerate()
        .map(|(i, c)| c + radius(i))
        .collect();
    (low, high)
}

/// A step of a network at random.
fn grown(twin: &mut Twin, x: usize, step: usize, seed: usize) -> usize {
    let map = twin.map(x);
    let dense = |twin: &mut Twin, x: usize, out: usize| {
        let n = twin.map(x).features();
        twin.dense(x, scattered(out * n, seed), scattered(out, seed + 1))
    };
    match step {
        0 => {
            let y = dense(twin, x, 6);
            twin.clamp(y, Clamp::RELU)
        }
        1 => {
            let y = dense(twin, x, 5);
            twin.clamp(y, Clamp::Leaky { slope: 0.2 })
        }
        2 => twin.clamp(
            x,
            Clamp::Clip {
                low: -0.4,
                high: 0.6,
            },
        ),
        3 => {
            let c = map.channels;
            let y = twin.scale(
                x,
                Scale::new(scattered(c, seed + 2), scattered(c, seed + 3)),
            );
            twin.smooth(y, Function::Sigmoid)
        }
        4 => twin.smooth(x, Function::Tanh),
        5 => {
            let y = twin.smooth(x, Function::Silu);
            twin.add(x, y)
        }
        6 => {
            let mut window = Window::from([map.height.min(2), map.width.min(2)]);
            window.stride = [1, 1];
            twin.largest(x, window)
        }
        7 => {
            let mut window = Window::from([3, 3]);
            window.pads = [[1, 1], [1, 1]];
            let mut c = Convolution::new(scattered(4 * map.channels * 9, seed), 4, window);
            c.bias = scattered(4, seed + 5);
            let y = twin.convolution(x, c);
            twin.clamp(y, Clamp::RELU)
        }
        8 => {
            let y = twin.smooth(x, Function::Gelu);
            let z = twin.multiply(x, y);
            twin.join(&[z, x])
        }
        9 => twin.smooth(x, Function::Elu { alpha: 0.7 }),
        10 => {
            let y = twin.smooth(x, Function::Erf);
            twin.clamp(y, Clamp::Leaky { slope: -0.5 })
        }
        11 => twin.smooth(x, Function::HardSwish),
        12 => twin.average(x, Window::from([map.height.min(2), map.width])),
        _ => {
            let function = Function::HardSigmoid {
                alpha: 0.3,
                beta: 0.4,
            };
            let y = twin.smooth(x, function);
            twin.clamp(y, Clamp::Leaky { slope: 1.5 })
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn no_point_of_the_box_leaves_the_bounds(
        steps in prop::collection::vec(0usize..14, 1..6), eps in prop::sample::select(vec![0.0f32, 1e-4, 0.05, 0.3, 2.0]),
        seed in 0usize..1000, image in any::<bool>(),
    ) {
        let map = if image { Map::new(1, 3, 3) } else { Map::new(4, 1, 1) };
        let mut twin = Twin::new(map);
        let mut x = 0;
        for (k, step) in steps.into_iter().enumerate() {
            x = grown(&mut twin, x, step, seed + 20 * k);
        }
        let n = twin.map(x).features();
        twin.dense(x, scattered(3 * n, seed + 7), scattered(3, seed + 8));
        let (low, high) = around(map.features(), eps, seed);
        assert_sound(&twin, &low, &high, 60, seed as u64);
    }

    /// Without an activation both are exact but for rounding.
    #[test]
    fn linear_networks_have_exact_bounds(features in 1usize..30, eps in 0.0f32..1.0, seed in 0usize..1000) {
        let mut twin = Twin::new(Map::new(features, 1, 1));
        let (weights, bias) = (scattered(3 * features, seed), scattered(3, seed + 1));
        twin.dense(0, weights.clone(), bias.clone());
        let (low, high) = around(features, eps, seed + 2);
        for method in BOTH {
            let margins = twin.program().margins(&wide(&low), &wide(&high), 1, method).unwrap();
            for (margin, other) in margins.iter().zip([0, 2]) {
                let mut exact = f64::from(bias[1]) - f64::from(bias[other]);
                let mut size = 1.0;
                for i in 0..features {
                    let w = f64::from(weights[features + i]) - f64::from(weights[other * features + i]);
                    exact += (w * f64::from(low[i])).min(w * f64::from(high[i]));
                    size += w.abs() * f64::from(low[i].abs().max(high[i].abs()));
                }
                prop_assert!(*margin <= exact && exact - margin < 2e-5 * size, "{margin} {exact}");
            }
        }
    }
}

#[test]
fn larger_networks_stay_inside_their_bounds() {
    let [residual, branching, _] = whole::all();
    for (twin, seed) in [(residual, 1), (branching, 2)] {
        for eps in [0.0, 1e-3, 0.02] {
            let (low, high) = around(twin.program().features(), eps, seed);
            assert_sound(&twin, &low, &high, 30, seed as u64);
        }
    }
}

/// `relu(x) + relu(-x)` is `|x|`: intervals give 0 to 2, lines the same; `relu(x) - relu(x)` is 0 for lines alone.
#[test]
fn lines_see_that_values_move_together() {
    let mut net = Builder::new(Map::new(1, 1, 1)).unwrap();
    let x = net.input();
    let hidden = net.dense(x, vec![1.0, 1.0], vec![]).unwrap();
    let hidden = net.clamp(hidden, Clamp::RELU);
    let mixed = net
        .dense(hidden, vec![1.0, -1.0, 1.0, 1.0], vec![])
        .unwrap();
    let relu = net.clamp(mixed, Clamp::RELU);
    let scores = net.dense(relu, vec![-1.0, 0.0], vec![0.5]).unwrap();
    let program = Program::new(net, scores);
    // At most relu(0), since both hidden values are equal; an interval allows 0.5 - 1.
    let least = |method| program.lower(&[0.2], &[1.0], &[1.0], method).unwrap()[0];
    assert!(
        (least(Method::Interval) - (0.5 - 0.8)).abs() < 1e-4,
        "{}",
        least(Method::Interval)
    );
    assert!(
        (least(Method::Linear) - 0.5).abs() < 1e-4,
        "{}",
        least(Method::Linear)
    );
}

/// A `ReLU` over -1 to 3: the line above is 0.75 (x + 1), the one below x.
#[test]
fn a_relu_by_hand() {
    let mut net = Builder::new(Map::new(1, 1, 1)).unwrap();
    let x = net.input();
    let y = net.clamp(x, Clamp::RELU);
    let joined = net.join(&[x, y]).unwrap();
    let scores = net
        .dense(joined, vec![1.0, -1.0, -1.0, 1.0], vec![])
        .unwrap();
    let program = Program::new(net, scores);
    // x - relu(x) is least at the end -1: lines give -1 - 0; relu(x) - x at least 0.
    let lower = |f: &[f64], method| program.lower(&[-1.0], &[3.0], f, method).unwrap()[0];
    assert!((lower(&[1.0, 0.0], Method::Linear) + 1.0).abs() < 1e-4);
    assert!((lower(&[0.0, 1.0], Method::Linear)).abs() < 1e-4);
    assert!((lower(&[1.0, 0.0], Method::Interval) + 4.0).abs() < 1e-4);
}

#[test]
fn changes_before_the_network_are_part_of_it() {
    let mut net = Builder::new(Map::new(2, 1, 1)).unwrap();
    let x = net.input();
    let scores = net.dense(x, vec![1.0, 0.0, 0.0, 1.0], vec![]).unwrap();
    // Rows come as (b, a) in 0 to 255; the network sees ((a / 255 - 0.5) / 0.5, (b / 255 - 0.1) / 2).
    let program = Program::new(net, scores).reordered(vec![1, 0]).scaled(
        1.0 / 255.0,
        &[0.1, 0.5],
        &[2.0, 0.5],
    );
    let [low, high] = program
        .outputs_over(&[51.0, 0.0], &[102.0, 255.0], Method::Interval)
        .unwrap();
    for (given, expected) in low.iter().chain(&high).zip([-1.0, 0.05, 1.0, 0.15]) {
        assert!((given - expected).abs() < 1e-4, "{low:?} {high:?}");
    }
}

#[test]
fn what_has_no_bounds_is_named() {
    let [.., transformer] = whole::all();
    let error = transformer.program().check().unwrap_err().to_string();
    assert!(error.contains("no bounds for normalise"), "{error}");

    let mut net = Builder::new(Map::new(2, 1, 1)).unwrap();
    net.set_node("node `probs` (Softmax)");
    let x = net.input();
    let y = net.softmax(x, false);
    let program = Program::new(net.clone(), y);
    let error = program
        .margins(&[0.0; 2], &[1.0; 2], 0, Method::Linear)
        .unwrap_err();
    assert!(
        error.to_string().starts_with("node `probs` (Softmax): "),
        "{error}"
    );
    // What the output does not need may be anything.
    let fine = net.clamp(x, Clamp::RELU);
    assert_eq!(Program::new(net, fine).check(), Ok(()));
}

#[test]
fn boxes_are_checked_and_overflow_is_no_bound() {
    let mut net = Builder::new(Map::new(1, 1, 1)).unwrap();
    let x = net.input();
    let y = net.dense(x, vec![1e30], vec![]).unwrap();
    let z = net.dense(y, vec![1e30], vec![]).unwrap();
    let program = Program::new(net, z);
    let bounds = |low: &[f64], high: &[f64]| program.lower(low, high, &[1.0], Method::Interval);
    assert!(matches!(
        bounds(&[0.0], &[1.0]),
        Err(BoundError::Overflow { .. })
    ));
    assert!(matches!(bounds(&[1.0], &[0.0]), Err(BoundError::Box(_))));
    assert!(matches!(
        bounds(&[f64::NAN], &[0.0]),
        Err(BoundError::Box(_))
    ));
    assert!(matches!(
        bounds(&[0.0; 2], &[0.0; 2]),
        Err(BoundError::Box(_))
    ));
}
