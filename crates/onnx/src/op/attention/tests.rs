use crate::array::Array;
use crate::check::Case;

/// Returns `n` numbers scattered over -1 to 1.
fn numbers(n: usize, salt: f64) -> Vec<f64> {
    (0..n)
        .map(|i| 2.0 * ((i as f64 + 1.0) * 0.618_033_988_749_894_9 + salt).fract() - 1.0)
        .collect()
}

/// Computes one head by the definition of attention; `bias(i, j)` is added to the scores and may be minus infinity.
fn by_definition(
    [q, k, v]: [&[f64]; 3],
    size: usize,
    scale: f64,
    cap: f64,
    bias: &dyn Fn(usize, usize) -> f64,
) -> Vec<f64> {
    let (keys, width) = (k.len() / size, v.len() * size / k.len());
    let mut y = Vec::new();
    for (i, query) in q.chunks(size).enumerate() {
        let scores: Vec<f64> = (0..keys)
            .map(|j| {
                let dot: f64 = (0..size).map(|d| query[d] * k[j * size + d]).sum();
                let s = dot * scale;
                (if cap > 0.0 { cap * (s / cap).tanh() } else { s }) + bias(i, j)
            })
            .collect();
        let e: Vec<f64> = scores.iter().map(|s| s.exp()).collect();
        let sum: f64 = e.iter().sum();
        for d in 0..width {
            let total: f64 = (0..keys).map(|j| e[j] * v[j * width + d]).sum();
            y.push(if sum > 0.0 { total / sum } else { 0.0 });
        }
    }
    y
}

fn close(given: &Array, shape: &[usize], expected: &[f64]) {
    assert_eq!(given.shape(), shape);
    let given = given.to_f64().unwrap();
    for (a, b) in given.iter().zip(expected) {
        assert!((a - b).abs() < 1e-5, "{given:?}\n{expected:?}");
    }
}

/// Two heads of size 2, three queries, four keys.
fn four_dimensions() -> (Case, [Vec<f64>; 3]) {
    let (q, k, v) = (numbers(12, 0.1), numbers(16, 0.2), numbers(24, 0.3));
    let case = Case::new("Attention")
        .opset(24)
        .tracked(&[1, 2, 3, 2], q.clone())
        .tracked(&[1, 2, 4, 2], k.clone())
        .tracked(&[1, 2, 4, 3], v.clone());
    (case, [q, k, v])
}

fn expected(
    [q, k, v]: &[Vec<f64>; 3],
    scale: f64,
    cap: f64,
    bias: &dyn Fn(usize, usize) -> f64,
) -> Vec<f64> {
    (0..2)
        .flat_map(|h| {
            let parts = [&q[h * 6..][..6], &k[h * 8..][..8], &v[h * 12..][..12]];
            by_definition(parts, 2, scale, cap, bias)
        })
        .collect()
}

#[test]
fn values_match_the_definition() {
    let (case, qkv) = four_dimensions();
    let root = 1.0 / 2f64.sqrt();
    let none = |_: usize, _: usize| 0.0;
    let y = case.run().unwrap().remove(0);
    close(&y, &[1, 2, 3, 3], &expected(&qkv, root, 0.0, &none));
    let y = case.clone().float("scale", 3.0).float("softcap", 0.5);
    let y = y.run().unwrap().remove(0);
    close(&y, &[1, 2, 3, 3], &expected(&qkv, 3.0, 0.5, &none));
    let later = |i: usize, j: usize| if j > i { f64::NEG_INFINITY } else { 0.0 };
    let y = case.clone().int("is_causal", 1).run().unwrap().remove(0);
    close(&y, &[1, 2, 3, 3], &expected(&qkv, root, 0.0, &later));
    // A float mask, then a boolean mask that blocks every key of one query.
    let bias: Vec<f64> = numbers(12, 0.7);
    let mask = Array::new([3, 4], bias.iter().map(|b| *b as f32).collect::<Vec<_>>());
    let y = case.clone().float("softcap", 0.5).host(mask);
    let y = y.run().unwrap().remove(0);
    let added = |i: usize, j: usize| bias[i * 4 + j];
    close(&y, &[1, 2, 3, 3], &expected(&qkv, root, 0.5, &added));
    let seen: Vec<bool> = (0..12).map(|i| i / 4 != 1 && i % 3 != 0).collect();
    let y = case.clone().host(Array::new([3, 4], seen.clone()));
    let y = y.run().unwrap().remove(0);
    let hidden = |i: usize, j: usize| {
        if seen[i * 4 + j] {
            0.0
        } else {
            f64::NEG_INFINITY
        }
    };
    close(&y, &[1, 2, 3, 3], &expected(&qkv, root, 0.0, &hidden));
}

#[test]
fn masks_and_caches_shorter_than_the_keys() {
    let (case, qkv) = four_dimensions();
    let root = 1.0 / 2f64.sqrt();
    let reach = |n: usize| move |_: usize, j: usize| if j < n { 0.0 } else { f64::NEG_INFINITY };
    // Keys past the end of the mask are blocked.
    for mask in [
        Array::new([3, 2], vec![true; 6]),
        Array::new([1, 3, 2], vec![0f32; 6]),
    ] {
        let y = case.clone().host(mask).run().unwrap().remove(0);
        close(&y, &[1, 2, 3, 3], &expected(&qkv, root, 0.0, &reach(2)));
    }
    // Before version 24 a mask of one key broadcasts to all keys.
    let y = case
        .clone()
        .opset(23)
        .host(Array::new([3, 1], vec![true; 3]));
    let y = y.run().unwrap().remove(0);
    close(&y, &[1, 2, 3, 3], &expected(&qkv, root, 0.0, &reach(4)));
    // A cache that holds three keys; the last query is the third of them.
    let cached = case.absent().absent().absent();
    let cached = cached.host(Array::new([1], vec![3i64]));
    let y = cached.run().unwrap().remove(0);
    close(&y, &[1, 2, 3, 3], &expected(&qkv, root, 0.0, &reach(3)));
    let y = cached.int("is_causal", 1).run().unwrap().remove(0);
    let later = |i: usize, j: usize| if j > i { f64::NEG_INFINITY } else { 0.0 };
    close(&y, &[1, 2, 3, 3], &expected(&qkv, root, 0.0, &later));
}

#[test]
fn heads_in_the_width_share_keys() {
    // Four query heads, two key heads, two samples: the same result as with every key head repeated twice.
    let (q, k, v) = (numbers(48, 0.1), numbers(32, 0.2), numbers(16, 0.3));
    let case = Case::new("Attention")
        .opset(23)
        .int("q_num_heads", 4)
        .int("kv_num_heads", 2)
        .tracked(&[2, 3, 8], q.clone())
        .tracked(&[2, 4, 4], k.clone())
        .tracked(&[2, 4, 2], v.clone());
    let mut y = vec![0.0; 24];
    for (b, h) in (0..8).map(|i| (i / 4, i % 4)) {
        let head = |t: &[f64], rows: usize, wide: usize, at: usize, size: usize| -> Vec<f64> {
            (0..rows)
                .flat_map(|i| t[(b * rows + i) * wide + at * size..][..size].to_vec())
                .collect()
        };
        let (hq, hk) = (head(&q, 3, 8, h, 2), head(&k, 4, 4, h / 2, 2));
        let hv = head(&v, 4, 2, h / 2, 1);
        let own = by_definition([&hq, &hk, &hv], 2, 1.0 / 2f64.sqrt(), 0.0, &|_, _| 0.0);
        for i in 0..3 {
            y[(b * 3 + i) * 4 + h] = own[i];
        }
    }
    close(&case.run().unwrap()[0], &[2, 3, 4], &y);
}

#[test]
fn past_keys_and_values_come_first() {
    // Keys and values in two parts; the queries come after the first part.
    let (q, k, v) = (numbers(4, 0.1), numbers(8, 0.2), numbers(8, 0.3));
    let case = Case::new("Attention")
        .opset(23)
        .outputs(4)
        .int("is_causal", 1)
        .int("qk_matmul_output_mode", 3)
        .tracked(&[1, 1, 2, 2], q.clone())
        .tracked(&[1, 1, 2, 2], k[4..].to_vec())
        .tracked(&[1, 1, 2, 2], v[4..].to_vec())
        .absent()
        .tracked(&[1, 1, 2, 2], k[..4].to_vec())
        .tracked(&[1, 1, 2, 2], v[..4].to_vec());
    let later = |i: usize, j: usize| if j > i + 2 { f64::NEG_INFINITY } else { 0.0 };
    let y = by_definition([&q, &k, &v], 2, 1.0 / 2f64.sqrt(), 0.0, &later);
    let outputs = case.run().unwrap();
    close(&outputs[0], &[1, 1, 2, 2], &y);
    close(&outputs[1], &[1, 1, 4, 2], &k);
    close(&outputs[2], &[1, 1, 4, 2], &v);
    let weights = outputs[3].to_f64().unwrap();
    assert_eq!(weights[3], 0.0);
    assert!((weights[..4].iter().sum::<f64>() - 1.0).abs() < 1e-6);
    case.assert_gradient();
}

#[test]
fn every_output_mode_returns_its_stage_of_the_scores() {
    let told = |mode: i64| {
        let case = Case::new("Attention")
            .opset(24)
            .outputs(4)
            .int("qk_matmul_output_mode", mode)
            .float("softcap", 2.0)
            .float("scale", 1.0)
            .tracked(&[1, 1, 1, 1], vec![2.0])
            .tracked(&[1, 1, 2, 1], vec![1.0, -1.0])
            .tracked(&[1, 1, 2, 1], vec![1.0, 2.0])
            .host(Array::new([1, 2], vec![0.25f32, 0.0]));
        case.run().unwrap()[3].to_f64().unwrap()
    };
    let t = 2.0 * 1f64.tanh();
    let e = [(t + 0.25).exp(), (-t).exp()];
    let p = [e[0] / (e[0] + e[1]), e[1] / (e[0] + e[1])];
    for (mode, expected) in [[2.0, -2.0], [t, -t], [t + 0.25, -t], p].iter().enumerate() {
        close(&Array::new([2], told(mode as i64)), &[2], expected);
    }
}

#[test]
fn gradients_of_attention() {
    let (case, _) = four_dimensions();
    case.assert_gradient();
    case.clone()
        .int("is_causal", 1)
        .float("softcap", 0.7)
        .assert_gradient();
    case.clone()
        .scattered(&[1, 2, 3, 4], -1.0, 1.0)
        .assert_gradient();
    let seen: Vec<bool> = (0..12).map(|i| i / 4 != 1 && i % 3 != 0).collect();
    case.host(Array::new([3, 4], seen)).assert_gradient();
    for mode in 0..4 {
        Case::new("Attention")
            .opset(24)
            .outputs(4)
            .int("q_num_heads", 4)
            .int("kv_num_heads", 2)
            .int("qk_matmul_output_mode", mode)
            .scattered(&[2, 2, 8], -1.0, 1.0)
            .scattered(&[2, 3, 4], -1.0, 1.0)
            .scattered(&[2, 3, 2], -1.0, 1.0)
            .assert_gradient();
    }
}

#[test]
fn attention_that_does_not_fit_is_refused() {
    let of = |q: &[usize], k: &[usize], v: &[usize]| {
        Case::new("Attention")
            .scattered(q, 0.0, 1.0)
            .scattered(k, 0.0, 1.0)
            .scattered(v, 0.0, 1.0)
    };
    let says = |case: &Case, part: &str| {
        let e = case.run().unwrap_err();
        assert!(e.contains(part), "{e}");
    };
    let fits = of(&[1, 2, 3, 2], &[1, 2, 4, 2], &[1, 2, 4, 2]);
    says(
        &of(&[1, 3, 4], &[1, 3, 4], &[1, 3, 4]),
        "no number of heads",
    );
    let wide = of(&[1, 3, 4], &[1, 3, 4], &[1, 3, 4])
        .int("q_num_heads", 3)
        .int("kv_num_heads", 3);
    says(&wide, "4 wide; it has 3 heads");
    says(&of(&[2, 2], &[2, 2], &[2, 2]), "expected 3 or 4 dimensions");
    says(
        &of(&[1, 2, 3, 2], &[1, 2, 4, 3], &[1, 2, 4, 2]),
        "do not fit",
    );
    says(
        &of(&[1, 3, 3, 2], &[1, 2, 4, 2], &[1, 2, 4, 2]),
        "cannot share",
    );
    says(
        &fits.clone().int("qk_matmul_output_mode", 4),
        "expected 0 to 3",
    );
    says(&fits.clone().int("left_window_size", 2), "windows");
    says(&fits.clone().int("q_num_heads", -1), "expected at least 1");
    says(&fits.clone().scattered(&[5, 4], 0.0, 1.0), "shapes");
    let mask = fits.clone().scattered(&[2, 1, 1, 3, 4], 0.0, 1.0);
    says(&mask, "a mask of shape");
    says(&fits.absent().scattered(&[2], 0.0, 1.0), "the past key");
    // No keys to attend to.
    let y = of(&[1, 1, 2, 2], &[1, 1, 0, 2], &[1, 1, 0, 2])
        .run()
        .unwrap();
    close(&y[0], &[1, 1, 2, 2], &[0.0; 4]);
}

/// Each pair of numbers is rotated by the angle whose cosine and sine are given for its position.
#[test]
fn pairs_are_rotated() {
    let angle = |i: usize| 0.3 + i as f64;
    let table = |f: fn(f64) -> f64| -> Vec<f64> { (0..6).map(|i| f(angle(i))).collect() };
    let places = Array::new([1, 2], vec![2i64, 0]);
    let input = numbers(10, 0.4);
    for interleaved in [0, 1] {
        // One head of size 5, of which four numbers are rotated, at positions 2 and 0 of three.
        let case = Case::new("RotaryEmbedding")
            .opset(23)
            .int("interleaved", interleaved)
            .int("rotary_embedding_dim", 4)
            .int("num_heads", 1)
            .tracked(&[1, 2, 5], input.clone())
            .tracked(&[3, 2], table(f64::cos))
            .tracked(&[3, 2], table(f64::sin))
            .host(places.clone());
        let mut y = input.clone();
        for (row, place) in [2, 0].into_iter().enumerate() {
            for i in 0..2 {
                let (s, c) = angle(place * 2 + i).sin_cos();
                let (a, b) = if interleaved == 1 {
                    (2 * i, 2 * i + 1)
                } else {
                    (i, i + 2)
                };
                let (a, b) = (row * 5 + a, row * 5 + b);
                y[a] = c * input[a] - s * input[b];
                y[b] = s * input[a] + c * input[b];
            }
        }
        close(&case.run().unwrap()[0], &[1, 2, 5], &y);
        case.assert_gradient();
    }
    // Heads as a dimension of their own, and cosines and sines per sample.
    let case = Case::new("RotaryEmbedding")
        .opset(23)
        .scattered(&[2, 3, 2, 4], -1.0, 1.0)
        .scattered(&[2, 2, 2], -1.0, 1.0)
        .scattered(&[2, 2, 2], -1.0, 1.0);
    assert_eq!(case.run().unwrap()[0].shape(), [2, 3, 2, 4]);
    case.assert_gradient();
}

#[test]
fn rotations_that_do_not_fit_are_refused() {
    let of = |input: &[usize], table: &[usize]| {
        Case::new("RotaryEmbedding")
            .scattered(input, 0.0, 1.0)
            .scattered(table, 0.0, 1.0)
            .scattered(table, 0.0, 1.0)
    };
    let says = |case: &Case, part: &str| {
        let e = case.run().unwrap_err();
        assert!(e.contains(part), "{e}");
    };
    says(&of(&[1, 2, 4], &[1, 2, 2]), "no number of heads");
    says(&of(&[1, 1, 2, 3], &[1, 2, 1]), "an even number");
    says(&of(&[1, 1, 2, 4], &[1, 3, 2]), "a table of shape");
    let far = of(&[1, 1, 2, 4], &[3, 2]).host(Array::new([1, 2], vec![0i64, 3]));
    says(&far, "position 3 in a table of 3");
    let odd = of(&[1, 1, 2, 4], &[3, 2]).host(Array::new([1, 3], vec![0i64; 3]));
    says(&odd, "positions of shape");
}
