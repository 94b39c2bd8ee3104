//! Each operation by itself, over shapes at random.

use std::sync::Arc;

use proofmark_kernels::{
    Builder, Clamp, Convolution, Function, KernelError, Map, Network, Scale, Step, Window,
};
use proptest::prelude::*;

use crate::reference::{Twin, assert_near, assert_twins, scattered};

/// Of the sums of sizes: what the issue of kernels allows.
const TOLERANCE: f64 = 1e-5;

fn window() -> impl Strategy<Value = Window> {
    let two = |r: std::ops::Range<usize>| [r.clone(), r];
    (two(1..4), two(1..4), [two(0..3), two(0..3)], two(1..3)).prop_map(
        |(size, stride, pads, dilation)| {
            let mut window = Window::from(size);
            (window.stride, window.pads, window.dilation) = (stride, pads, dilation);
            window
        },
    )
}

/// A map that a window fits into.
fn over(window: &Window, channels: usize, more: [usize; 2]) -> Map {
    let length = |i: usize| {
        let span = (window.size[i] - 1) * window.dilation[i] + 1;
        span.saturating_sub(window.pads[i][0] + window.pads[i][1])
            .max(1)
            + more[i]
    };
    Map::new(channels, length(0), length(1))
}

fn convolution(out: usize, per: usize, window: Window, groups: usize) -> Convolution {
    let taps = window.size[0] * window.size[1];
    let mut c = Convolution::new(scattered(out * per * taps, 3), out, window);
    c.bias = scattered(out, 4);
    c.groups = groups;
    c
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_convolution_equals_plain_loops(
        window in window(), channels in 1usize..40, out in 1usize..50, more in [0usize..9, 0usize..9], rows in 0usize..4,
    ) {
        let mut twin = Twin::new(over(&window, channels, more));
        twin.convolution(0, convolution(out, channels, window, 1));
        assert_twins(&twin, rows, TOLERANCE);
    }

    #[test]
    fn a_grouped_convolution_equals_plain_loops(
        window in window(), groups in 2usize..9, each in [1usize..4, 1usize..4], lanes in prop::sample::select(vec![1, 4, 16]), more in [0usize..5, 0usize..5],
    ) {
        let (per, out) = (each[0] * lanes, each[1] * lanes * groups);
        let mut twin = Twin::new(over(&window, per * groups, more));
        twin.convolution(0, convolution(out, per, window, groups));
        assert_twins(&twin, 2, TOLERANCE);
    }

    #[test]
    fn a_depthwise_convolution_equals_plain_loops(
        window in window(), channels in 2usize..40, more in [0usize..9, 0usize..9],
    ) {
        let mut twin = Twin::new(over(&window, channels, more));
        twin.convolution(0, convolution(channels, 1, window, channels));
        assert_twins(&twin, 2, TOLERANCE);
    }

    #[test]
    fn a_dense_layer_equals_plain_loops(
        shape in [1usize..40, 1usize..5, 1usize..5], out in 1usize..70, rows in 0usize..20,
    ) {
        let map = Map::new(shape[0], shape[1], shape[2]);
        let mut twin = Twin::new(map);
        twin.dense(0, scattered(map.features() * out, 3), scattered(out, 4));
        assert_twins(&twin, rows, TOLERANCE);
    }

    #[test]
    fn poolings_equal_plain_loops(window in window(), channels in 1usize..40, more in [0usize..9, 0usize..9]) {
        let map = over(&window, channels, more);
        let mut twin = Twin::new(map);
        twin.average(0, window);
        assert_twins(&twin, 2, TOLERANCE);
        // Along one dimension, whether a window sees padding alone.
        let is_blind = |i: usize, length: usize| {
            let span = (window.size[i] - 1) * window.dilation[i] + 1;
            let windows = (length + window.pads[i][0] + window.pads[i][1] - span) / window.stride[i] + 1;
            (0..windows).any(|o| {
                let mut pixels = (0..window.size[i]).map(|k| o * window.stride[i] + k * window.dilation[i]);
                !pixels.any(|p| p >= window.pads[i][0] && p < window.pads[i][0] + length)
            })
        };
        if is_blind(0, map.height) || is_blind(1, map.width) {
            let mut builder = Builder::new(map).unwrap();
            let x = builder.input();
            let is_unsupported = matches!(builder.largest(x, window), Err(KernelError::Unsupported { .. }));
            prop_assert!(is_unsupported);
        } else {
            let mut twin = Twin::new(map);
            twin.largest(0, window);
            assert_twins(&twin, 2, 1e-6);
        }
    }

    #[test]
    fn scale_and_activations_equal_plain_loops(shape in [1usize..40, 1usize..5, 1usize..5], kind in 0usize..4) {
        let map = Map::new(shape[0], shape[1], shape[2]);
        let mut twin = Twin::new(map);
        let x = twin.scale(0, Scale::new(scattered(shape[0], 3), scattered(shape[0], 4)));
        let clamp = match kind {
            0 => Clamp::Leaky { slope: 0.0 },
            1 => Clamp::Leaky { slope: 0.1 },
            2 => Clamp::Clip { low: -0.25, high: 0.5 },
            _ => Clamp::Clip { low: 0.0, high: f32::INFINITY },
        };
        twin.clamp(x, clamp);
        assert_twins(&twin, 2, TOLERANCE);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn products_of_matrices_equal_plain_loops(
        k in 1usize..20, n in 1usize..40, lines in 1usize..4, m in 1usize..20,
    ) {
        let input = Map::new(1, 1, lines * (m * k + k * n));
        let mut twin = Twin::new(input);
        let first = (lines * m * k) as u32;
        let a = twin.rearrange(0, Map::new(k, lines, m), (0..first).rev().collect());
        let b = twin.rearrange(0, Map::new(n, lines, k), (first..input.features() as u32).collect());
        twin.product(a, b);
        assert_twins(&twin, 2, TOLERANCE);
    }

    #[test]
    fn what_mixes_the_channels_of_a_pixel_equals_plain_loops(
        shape in [1usize..40, 1usize..4, 1usize..4], kind in 0usize..3,
    ) {
        // Of few channels little is left beside their mean: what remains of a gradient is rounding.
        let channels = shape[0] + 7;
        let map = Map::new(channels, shape[1], shape[2]);
        let mut twin = Twin::new(map);
        let x = twin.affine(0, scattered(map.features(), 3), scattered(map.features(), 4));
        let x = twin.scale(x, Scale::new(vec![1.5; channels], vec![1.0; channels]));
        match kind {
            0 => twin.normalise(x, 1e-3),
            1 => twin.softmax(x, false),
            _ => twin.softmax(x, true),
        };
        assert_near(&twin, 2, 1e-4);
    }

    #[test]
    fn values_of_one_shape_are_multiplied(shape in [1usize..40, 1usize..4, 1usize..4]) {
        let map = Map::new(shape[0], shape[1], shape[2]);
        let mut twin = Twin::new(map);
        let a = twin.scale(0, Scale::new(scattered(shape[0], 3), scattered(shape[0], 4)));
        let b = twin.multiply(a, 0);
        twin.multiply(b, b);
        assert_twins(&twin, 2, TOLERANCE);
    }
}

/// A function, a scale, an activation or a factor on the last of the values.
fn one_more(twin: &mut Twin, from: usize, x: usize, kind: usize) -> usize {
    let channels = twin.map(x).channels;
    match kind {
        0 => twin.smooth(x, Function::Erf),
        1 => twin.smooth(x, Function::Sigmoid),
        2 => twin.smooth(x, Function::Gelu),
        3 => twin.scale(x, Scale::new(vec![0.7; channels], vec![0.2; channels])),
        4 => twin.clamp(x, Clamp::Leaky { slope: 0.1 }),
        5 => twin.scale(
            x,
            Scale::new(scattered(channels, 5), scattered(channels, 6)),
        ),
        6 => twin.add(x, from),
        _ => twin.multiply(x, from),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn functions_in_a_row_equal_plain_loops(
        channels in 1usize..40, kinds in prop::collection::vec(0usize..8, 1..7), reread in 0usize..8,
    ) {
        let mut twin = Twin::new(Map::new(channels, 2, 3));
        let from = twin.scale(0, Scale::new(scattered(channels, 3), vec![0.3; channels]));
        let mut values = vec![from];
        for kind in kinds {
            values.push(one_more(&mut twin, from, *values.last().unwrap(), kind));
        }
        // A value in between that is read once more is no part of a row.
        if let Some(again) = values.get(reread) {
            twin.add(*values.last().unwrap(), *again);
        }
        assert_twins(&twin, 2, 1e-3);
    }
}

#[test]
fn gelu_as_it_is_exported_and_scores_of_attention_are_one_step_each() {
    let map = Map::new(5, 1, 3);
    let number = |n: f32, shift: f32| Scale::new(vec![n; 5], vec![shift; 5]);
    let mut net = Builder::new(map).unwrap();
    let x = net.input();
    let inner = net
        .scale(x, number(std::f32::consts::FRAC_1_SQRT_2, 0.0))
        .unwrap();
    let inner = net.smooth(inner, Function::Erf);
    let inner = net.scale(inner, number(1.0, 1.0)).unwrap();
    let y = net.multiply(x, inner).unwrap();
    let y = net.scale(y, number(0.5, 0.0)).unwrap();
    let mut gelu = Builder::new(map).unwrap();
    let own = gelu.smooth(x, Function::Gelu);
    let given = scattered(30, 1);
    let (five, one) = (net.clone().finish(y), gelu.finish(own));
    assert_eq!(
        five.plan(),
        ["scale + function + scale + multiply + scale [5, 1, 3]"]
    );
    for (a, b) in five.forward(&given).iter().zip(one.forward(&given)) {
        assert!((a - b).abs() <= 1e-6, "{a} {b}");
    }
    let mut net = Builder::new(map).unwrap();
    let y = net.scale(x, number(-0.25, 0.0)).unwrap();
    let y = net.softmax(y, false);
    assert_eq!(net.finish(y).plan(), ["scale + softmax [5, 1, 3]"]);
    let mut net = Builder::new(map).unwrap();
    let y = net
        .scale(x, Scale::new(scattered(5, 1), vec![0.0; 5]))
        .unwrap();
    let y = net.softmax(y, false);
    assert_eq!(net.finish(y).plan().len(), 2, "a number per channel stays");
}

/// As `min(max(x, low), high)` has it.
#[test]
fn of_limits_that_cross_the_upper_one_wins() {
    let mut net = Builder::new(Map::new(3, 1, 1)).unwrap();
    let y = net.clamp(
        net.input(),
        Clamp::Clip {
            low: 1.0,
            high: -1.0,
        },
    );
    assert_eq!(net.finish(y).forward(&[-2.0, 0.0, 2.0]), [-1.0; 3]);
}

#[test]
fn smooth_activations_equal_their_formulas() {
    for function in [
        Function::Sigmoid,
        Function::Tanh,
        Function::Silu,
        Function::Elu { alpha: 0.7 },
        Function::HardSwish,
        Function::HardSigmoid {
            alpha: 0.2,
            beta: 0.5,
        },
        Function::Erf,
        Function::Gelu,
        Function::Bend(STEP),
    ] {
        let mut twin = Twin::new(Map::new(19, 3, 2));
        let x = twin.scale(0, Scale::new(vec![4.0; 19], vec![0.1; 19]));
        twin.smooth(x, function);
        // The plain gradient is a difference quotient.
        assert_twins(&twin, 2, 1e-4);
    }
}

const STEP: Step = Step {
    at: 0.25,
    below: -1.0,
    on: 0.5,
    above: 3.0,
    width: 0.5,
};

#[test]
fn a_step_has_its_three_values_and_the_gradient_of_its_bend() {
    let net = |function| {
        let mut net = Builder::new(Map::new(8, 1, 1)).unwrap();
        let y = net.smooth(net.input(), function);
        Arc::new(net.finish(y))
    };
    let x = [
        0.2,
        0.25,
        0.3,
        -0.0,
        f32::INFINITY,
        f32::NEG_INFINITY,
        1e30,
        f32::NAN,
    ];
    let (step, bend) = (net(Function::Step(STEP)), net(Function::Bend(STEP)));
    let y = step.forward(&x);
    assert_eq!(y[..7], [-1.0, 0.5, 3.0, -1.0, 3.0, -1.0, 3.0]);
    assert!(y[7].is_nan());
    let gradient = |net: &Arc<Network>| net.forward_saved(&x).1.gradient(&[1.0; 8]);
    assert_eq!(gradient(&step)[..7], gradient(&bend)[..7]);
    // The steepest slope is the height over twice the width.
    assert_eq!(gradient(&step)[1], 4.0);
    assert_eq!(bend.forward(&x)[4..7], [3.0, -1.0, 3.0]);
}

#[test]
fn invalid_shapes_are_errors_that_name_the_operation() {
    let mut net = Builder::new(Map::new(4, 3, 3)).unwrap();
    let x = net.input();
    let text = |e: KernelError| e.to_string();
    assert!(text(Builder::new(Map::new(0, 3, 3)).unwrap_err()).contains("no features"));
    let wide = Convolution::new(vec![0.0; 4 * 25], 1, Window::from([5, 5]));
    assert!(text(net.convolution(x, wide).unwrap_err()).starts_with("convolution: windows"));
    let few = Convolution::new(vec![0.0; 3], 1, Window::from([1, 1]));
    assert!(text(net.convolution(x, few).unwrap_err()).contains("3 weights; expected 4"));
    let mut still = Window::from([1, 1]);
    still.stride = [0, 1];
    assert!(net.average(x, still).is_err());
    assert!(
        text(net.dense(x, vec![0.0; 35], vec![]).unwrap_err())
            .contains("35 weights for 36 features")
    );
    assert!(
        text(
            net.scale(x, Scale::new(vec![1.0; 3], vec![0.0; 4]))
                .unwrap_err()
        )
        .contains("4 channels")
    );
    let y = net.average(x, Window::from([2, 2])).unwrap();
    assert!(net.add(x, y).is_err());
    assert!(net.join(&[x, y]).is_err());
    assert!(net.join(&[]).is_err());
}
