//! Networks of many operations: what is fused, folded and added up.

use proofmark_kernels::{Clamp, Convolution, Function, Isa, Map, Scale, Window};

use crate::reference::{Twin, assert_twins, scattered};

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
    let order = (0..288).map(|i| i * 5 % 288).collect();
    let g = twin.rearrange(g, Map::new(8, 6, 6), order);
    let g = twin.clamp(g, Clamp::Leaky { slope: 0.5 });
    let mut depthwise = Convolution::new(scattered(8 * 4, 9), 8, Window::from([2, 2]));
    depthwise.groups = 8;
    let g = twin.convolution(g, depthwise);
    twin.dense(g, scattered(8 * 25 * 3, 6), vec![]);
    twin
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

pub(crate) fn both() -> [Twin; 2] {
    [residual(), branching()]
}
