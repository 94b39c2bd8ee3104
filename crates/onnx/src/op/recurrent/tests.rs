use crate::array::Array;
use crate::check::Case;

const STEPS: usize = 3;
const BATCH: usize = 2;
const FEATURES: usize = 2;
const HIDDEN: usize = 2;

fn gates(op: &str) -> usize {
    match op {
        "RNN" => 1,
        "GRU" => 3,
        _ => 4,
    }
}

/// Returns a case with weights, bias and an initial state, all differentiated.
fn case(op: &str, directions: usize, lengths: Option<Vec<i32>>) -> Case {
    let g = gates(op) * HIDDEN;
    let case = Case::new(op)
        .scattered(&[STEPS, BATCH, FEATURES], -1.0, 1.0)
        .scattered(&[directions, g, FEATURES], -1.0, 1.0)
        .scattered(&[directions, g, HIDDEN], -1.0, 1.0)
        .scattered(&[directions, 2 * g], -1.0, 1.0)
        .outputs(2);
    let case = match lengths {
        Some(l) => case.host(Array::new([l.len()], l)),
        None => case.absent(),
    };
    case.scattered(&[directions, BATCH, HIDDEN], -1.0, 1.0)
}

fn lstm(directions: usize, peepholes: bool) -> Case {
    let case = case("LSTM", directions, None)
        .scattered(&[directions, BATCH, HIDDEN], -1.0, 1.0)
        .outputs(3);
    if peepholes {
        case.scattered(&[directions, 3 * HIDDEN], -1.0, 1.0)
    } else {
        case
    }
}

#[test]
fn gradients() {
    for op in ["RNN", "GRU"] {
        case(op, 1, None).assert_gradient();
        case(op, 1, None)
            .text("direction", "reverse")
            .assert_gradient();
        case(op, 2, Some(vec![1, 3]))
            .text("direction", "bidirectional")
            .assert_gradient();
    }
    case("GRU", 1, None)
        .int("linear_before_reset", 1)
        .assert_gradient();
    case("GRU", 1, None).float("clip", 0.5).assert_gradient();
    lstm(1, false).assert_gradient();
    lstm(1, true).assert_gradient();
    lstm(2, true)
        .text("direction", "bidirectional")
        .assert_gradient();
    lstm(1, false).int("input_forget", 1).assert_gradient();
}

#[test]
fn every_activation_has_a_gradient() {
    for name in [
        "Relu",
        "Tanh",
        "Sigmoid",
        "Softsign",
        "Softplus",
        "Affine",
        "LeakyRelu",
        "ThresholdedRelu",
        "ScaledTanh",
        "HardSigmoid",
        "Elu",
    ] {
        case("RNN", 1, None)
            .texts("activations", &[name])
            .floats("activation_alpha", &[0.3])
            .floats("activation_beta", &[0.2])
            .assert_gradient();
    }
}

/// Each direction of a bidirectional layer equals a layer that runs only that way.
#[test]
fn a_bidirectional_layer_is_two_layers() {
    let x: Vec<f64> = (0..12).map(|i| f64::from(i) / 7.0 - 0.8).collect();
    let w: Vec<f32> = (0..8).map(|i| (i * i % 5) as f32 / 4.0 - 0.4).collect();
    let one = |direction: &str, from: usize, to: usize, n: usize| {
        let part = |v: &[f32]| Array::new([n, 2, 2], v[from * 4..to * 4].to_vec());
        Case::new("RNN")
            .tracked(&[3, 2, 2], x.clone())
            .host(part(&w))
            .host(part(&w))
            .absent()
            .host(Array::new([2], vec![2i32, 3]))
            .text("direction", direction)
            .outputs(2)
            .run()
            .unwrap()
    };
    let both = one("bidirectional", 0, 2, 2);
    let (forward, reverse) = (one("forward", 0, 1, 1), one("reverse", 1, 2, 1));
    let both = both.iter().map(|a| a.to_f32().unwrap()).collect::<Vec<_>>();
    let (f, r) = (forward[0].to_f32().unwrap(), reverse[0].to_f32().unwrap());
    for step in 0..3 {
        assert_eq!(both[0][step * 8..step * 8 + 4], f[step * 4..step * 4 + 4]);
        assert_eq!(
            both[0][step * 8 + 4..step * 8 + 8],
            r[step * 4..step * 4 + 4]
        );
    }
    assert_eq!(both[1][..4], forward[1].to_f32().unwrap()[..]);
    assert_eq!(both[1][4..], reverse[1].to_f32().unwrap()[..]);
    // The first sequence ends after two steps: its last state is that of the second, and its outputs are zero
    // afterwards.
    assert_eq!(both[1][..2], f[4..6]);
    assert_eq!(f[8..10], [0.0, 0.0]);
}

/// One unit, two steps, computed by hand.
#[test]
fn hand_computed() {
    let s = |x: f64| 1.0 / (1.0 + (-x).exp());
    let all = |n: usize, v: f32| Array::new([1, n, 1], vec![v; n]);
    let x = || vec![1.0, 2.0];
    let y = Case::new("LSTM")
        .tracked(&[2, 1, 1], x())
        .host(all(4, 0.5))
        .host(all(4, 0.25))
        .outputs(3)
        .run()
        .unwrap();
    let (mut h, mut c) = (0.0f64, 0.0f64);
    for x in x() {
        let z = 0.5 * x + 0.25 * h;
        c = s(z) * c + s(z) * z.tanh();
        h = s(z) * c.tanh();
    }
    assert!((y[1].to_f64().unwrap()[0] - h).abs() < 1e-6);
    assert!((y[2].to_f64().unwrap()[0] - c).abs() < 1e-6);
    for before in [0, 1] {
        let bias = Array::new([1, 6], vec![0.0f32, 0.0, 0.1, 0.0, 0.2, 0.3]);
        let y = Case::new("GRU")
            .tracked(&[2, 1, 1], x())
            .host(all(3, 0.5))
            .host(all(3, 0.25))
            .host(bias)
            .int("linear_before_reset", before)
            .outputs(2)
            .run()
            .unwrap();
        let mut h = 0.0f64;
        for x in x() {
            let z = s(0.5 * x + 0.25 * h);
            let r = s(0.5 * x + 0.25 * h + 0.2);
            let state = if before == 1 {
                r * (0.25 * h + 0.3)
            } else {
                0.25 * r * h + 0.3
            };
            h = (1.0 - z) * (0.5 * x + 0.1 + state).tanh() + z * h;
        }
        assert!((y[1].to_f64().unwrap()[0] - h).abs() < 1e-6);
    }
}

#[test]
fn invalid_shapes_and_attributes_are_errors() {
    let e = |c: Case| c.run().unwrap_err();
    assert!(e(case("RNN", 1, None).text("direction", "up")).contains("`direction`"));
    assert!(e(case("RNN", 1, None).text("direction", "bidirectional")).contains("weights"));
    assert!(e(case("RNN", 1, None).int("hidden_size", 7)).contains("hidden_size"));
    assert!(e(case("RNN", 1, None).int("layout", 2)).contains("layout"));
    assert!(e(case("RNN", 1, Some(vec![1, 4]))).contains("4 steps"));
    assert!(e(case("RNN", 1, Some(vec![1]))).contains("1 lengths"));
    assert!(e(case("GRU", 1, None).texts("activations", &["Tanh"])).contains("activations"));
    assert!(e(case("RNN", 1, None).texts("activations", &["Sine"])).contains("Sine"));
    let flat = Case::new("RNN")
        .scattered(&[2], 0.0, 1.0)
        .scattered(&[1], 0.0, 1.0);
    assert!(!e(flat.scattered(&[], 0.0, 1.0)).contains("panicked"));
}
