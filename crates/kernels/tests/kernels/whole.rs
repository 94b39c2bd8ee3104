//! Networks of many operations: what is fused, folded and added up.

use proofmark_kernels::{Clamp, Convolution, Function, Isa, Map, Scale, Window};

use crate::reference::{Twin, assert_near, assert_twins, scattered};

const RELU: Clamp = Clamp::Leaky { slope: 0.0 };

fn three_by_three(twin: &mut Twin, x: usize, out: usize, stride: usize) -> usize {
    let channels = twin.map(x).channels;
    let mut window = Window::from([3, 3]);
    (window.pads, window.stride) = ([[1, 1], [1, 1]], [stride, stride]);
    let mut c = Convolution::new(scattered(out * channels * 9, x + 10), out, window);
    c.bias = scattered(out, x + 11);
    twin.convolution(x, c)
}

fn norm(twin: &mut Twin, x: usize) -> usize {
    let channels = twin.map(x).channels;
    twin.scale(
        x,
        Scale::new(scattered(channels, x + 12), scattered(channels, x + 13)),
    )
}

/// A residual network in the small: strides, a shortcut by itself and one with a convolution, norms, poolings.
fn residual() -> Twin {
    let mut twin = Twin::new(Map::new(3, 9, 8));
    let x = norm(&mut twin, 0);
    let x = three_by_three(&mut twin, x, 20, 1);
    let x = norm(&mut twin, x);
    let x = twin.clamp(x, RELU);
    let mut window = Window::from([3, 3]);
    (window.pads, window.stride) = ([[1, 1], [1, 1]], [2, 2]);
    let mut x = twin.largest(x, window);
    for (out, stride) in [(20, 1), (33, 2)] {
        let y = three_by_three(&mut twin, x, out, stride);
        let y = norm(&mut twin, y);
        let y = twin.clamp(y, RELU);
        let y = three_by_three(&mut twin, y, out, 1);
        let y = norm(&mut twin, y);
        let short = if stride == 1 {
            x
        } else {
            let mut window = Window::from([1, 1]);
            window.stride = [2, 2];
            twin.convolution(x, Convolution::new(scattered(out * 20, 5), out, window))
        };
        let sum = twin.add(y, short);
        x = twin.clamp(sum, RELU);
    }
    let map = twin.map(x);
    let x = twin.average(x, Window::from([map.height, map.width]));
    twin.dense(x, scattered(33 * 10, 6), scattered(10, 7));
    twin
}

/// Everything else: joins, smooth activations, a value that is read three times, one added to itself, an activation of
/// an activation, values that nothing reads.
fn branching() -> Twin {
    let mut twin = Twin::new(Map::new(5, 6, 6));
    let a = twin.clamp(0, Clamp::Leaky { slope: 0.2 });
    let b = three_by_three(&mut twin, a, 17, 1);
    let b = twin.smooth(b, Function::Silu);
    let c = twin.join(&[a, b, a]);
    let c = three_by_three(&mut twin, c, 8, 1);
    let d = twin.add(c, c);
    let e = twin.clamp(
        d,
        Clamp::Clip {
            low: -1.0,
            high: 1.0,
        },
    );
    let e = twin.clamp(e, RELU);
    let f = twin.smooth(d, Function::Tanh);
    let g = twin.add(e, f);
    let g = twin.add(g, c);
    three_by_three(&mut twin, g, 40, 1);
    // As squeeze-and-excite: a map times what a dense layer makes of its mean.
    let mean = twin.average(g, Window::from([6, 6]));
    let gate = twin.dense(mean, scattered(64, 30), scattered(8, 31));
    let gate = twin.smooth(gate, Function::Sigmoid);
    let gate = twin.spread(gate, 6, 6);
    let g = twin.multiply(g, gate);
    let order = (0..288).map(|i| i * 5 % 288).collect();
    let g = twin.rearrange(g, Map::new(8, 6, 6), order);
    let g = twin.clamp(g, Clamp::Leaky { slope: 0.5 });
    let mut depthwise = Convolution::new(scattered(8 * 4, 9), 8, Window::from([2, 2]));
    depthwise.groups = 8;
    let g = twin.convolution(g, depthwise);
    twin.dense(g, scattered(8 * 25 * 3, 6), vec![]);
    twin
}

/// A block of a transformer: norm, attention with two heads, a sum, a norm, two dense layers, a mean over tokens.
fn transformer() -> Twin {
    let (tokens, width, heads) = (9, 32, 2);
    let each = width / heads;
    let mut twin = Twin::new(Map::new(width, 1, tokens));
    let n = width * tokens;
    let x = twin.affine(0, vec![1.0; n], scattered(n, 3));
    let dense = |twin: &mut Twin, x: usize, out: usize| {
        let c = twin.map(x).channels;
        let mut dense = Convolution::new(scattered(out * c, x + 20), out, Window::from([1, 1]));
        dense.bias = scattered(out, x + 21);
        twin.convolution(x, dense)
    };
    let normal = twin.normalise(x, 1e-5);
    let normal = norm(&mut twin, normal);
    let qkv = dense(&mut twin, normal, 3 * width);
    // Feature `c tokens + t` of the dense layer is channel `c` of token `t`.
    let at = |part: usize, h: usize, t: usize, d: usize| {
        (((part * heads + h) * each + d) * tokens + t) as u32
    };
    let pick = |f: &dyn Fn(usize, usize, usize) -> u32, c: usize, p: usize| -> Vec<u32> {
        let all = (0..c).flat_map(|c| (0..heads).flat_map(move |h| (0..p).map(move |p| (c, h, p))));
        all.map(|(c, h, p)| f(c, h, p)).collect()
    };
    let map = |c: usize, p: usize| Map::new(c, heads, p);
    let q = twin.rearrange(
        qkv,
        map(each, tokens),
        pick(&|c, h, p| at(0, h, p, c), each, tokens),
    );
    let k = twin.rearrange(
        qkv,
        map(tokens, each),
        pick(&|c, h, p| at(1, h, c, p), tokens, each),
    );
    let v = twin.rearrange(
        qkv,
        map(each, tokens),
        pick(&|c, h, p| at(2, h, p, c), each, tokens),
    );
    let scores = twin.product(q, k);
    let scores = twin.scale(scores, Scale::new(vec![0.25; tokens], vec![0.0; tokens]));
    let shares = twin.softmax(scores, false);
    let values = twin.product(shares, v);
    let order = (0..n).map(|i| {
        let (c, t) = (i / tokens, i % tokens);
        ((c % each * heads + c / each) * tokens + t) as u32
    });
    let joined = twin.rearrange(values, Map::new(width, 1, tokens), order.collect());
    let y = dense(&mut twin, joined, width);
    let x = twin.add(y, x);
    let y = twin.normalise(x, 1e-5);
    let y = dense(&mut twin, y, 40);
    let y = twin.smooth(y, Function::Gelu);
    let y = dense(&mut twin, y, width);
    let x = twin.add(x, y);
    let x = twin.average(x, Window::from([1, tokens]));
    twin.dense(x, scattered(width * 5, 6), scattered(5, 7));
    twin
}

#[test]
fn a_transformer_equals_plain_loops() {
    assert_near(&transformer(), 3, 1e-4);
}

#[test]
fn networks_equal_plain_loops() {
    // Rounding may put a value on the other side of an activation's corner, though not for these numbers.
    assert_twins(&residual(), 3, 1e-5);
    assert_twins(&branching(), 3, 1e-5);
}

#[test]
fn the_plan_shows_what_is_computed_together() {
    let plan = residual().compiled(Isa::detect()).plan().to_vec();
    assert_eq!(
        plan,
        [
            "scale [3, 9, 8]",
            "convolution + scale + clamp [20, 9, 8]",
            "largest [20, 5, 4]",
            "convolution + scale + clamp [20, 5, 4]",
            "convolution + scale + add + clamp [20, 5, 4]",
            "convolution + scale + clamp [33, 3, 2]",
            "convolution [33, 3, 2]",
            "convolution + scale + add + clamp [33, 3, 2]",
            "average [33, 1, 1]",
            "convolution [10, 1, 1]",
        ]
    );
}

#[test]
fn a_network_of_nothing_is_the_identity() {
    let twin = Twin::new(Map::new(18, 2, 3));
    assert_twins(&twin, 2, 0.0);
}

#[test]
fn memory_is_shared_by_values_that_are_never_alive_together() {
    let mut twin = Twin::new(Map::new(16, 8, 8));
    let mut x = 0;
    for _ in 0..20 {
        x = three_by_three(&mut twin, x, 16, 1);
    }
    // Two values with a border of one pixel, however many there are on the way.
    assert_eq!(
        twin.compiled(Isa::detect()).bytes_per_row(),
        2 * 16 * 10 * 10 * 4
    );
}

pub(crate) fn all() -> [Twin; 3] {
    [residual(), branching(), transformer()]
}
