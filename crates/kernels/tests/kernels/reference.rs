//! The same operations as plain loops in `f64`, forwards and backwards, channel by channel.

use std::sync::Arc;

use proofmark_kernels::{
    Builder, Clamp, Convolution, Function, Isa, Map, Network, Program, Scale, Value, Window,
};

/// One operation on values by their numbers.
#[derive(Debug, Clone)]
enum Plain {
    Input,
    Convolution(usize, Convolution),
    Scale(usize, Scale),
    Average(usize, Window),
    Largest(usize, Window),
    Add(usize, usize),
    Clamp(usize, Clamp),
    Smooth(usize, Function),
    Join(Vec<usize>),
    Rearrange(usize, Vec<u32>),
    Affine(usize, Vec<f32>, Vec<f32>),
    Multiply(usize, usize),
    Spread(usize),
    Product(usize, usize),
    Normalise(usize, f32),
    Softmax(usize, bool),
}

/// A network described twice: for the kernels, and as plain loops.
#[derive(Debug, Clone)]
pub(crate) struct Twin {
    builder: Builder,
    handles: Vec<Value>,
    plain: Vec<Plain>,
    /// Numbers replaced by their size, so that what comes out bounds the sums that rounding is measured against.
    sizes: bool,
}

impl Twin {
    pub(crate) fn new(input: Map) -> Self {
        let builder = Builder::new(input).unwrap();
        Self {
            handles: vec![builder.input()],
            builder,
            plain: vec![Plain::Input],
            sizes: false,
        }
    }

    pub(crate) fn map(&self, value: usize) -> Map {
        self.builder.map(self.handles[value])
    }

    fn push(&mut self, plain: Plain, handle: Value) -> usize {
        self.plain.push(plain);
        self.handles.push(handle);
        self.handles.len() - 1
    }

    pub(crate) fn convolution(&mut self, x: usize, c: Convolution) -> usize {
        let handle = self
            .builder
            .convolution(self.handles[x], c.clone())
            .unwrap();
        self.push(Plain::Convolution(x, c), handle)
    }

    pub(crate) fn dense(&mut self, x: usize, weights: Vec<f32>, bias: Vec<f32>) -> usize {
        let handle = self
            .builder
            .dense(self.handles[x], weights.clone(), bias.clone())
            .unwrap();
        let map = self.map(x);
        let mut c = Convolution::new(
            weights,
            self.builder.map(handle).channels,
            Window::from([map.height, map.width]),
        );
        c.bias = bias;
        self.push(Plain::Convolution(x, c), handle)
    }

    pub(crate) fn scale(&mut self, x: usize, s: Scale) -> usize {
        let handle = self.builder.scale(self.handles[x], s.clone()).unwrap();
        self.push(Plain::Scale(x, s), handle)
    }

    pub(crate) fn average(&mut self, x: usize, w: Window) -> usize {
        let handle = self.builder.average(self.handles[x], w).unwrap();
        self.push(Plain::Average(x, w), handle)
    }

    pub(crate) fn largest(&mut self, x: usize, w: Window) -> usize {
        let handle = self.builder.largest(self.handles[x], w).unwrap();
        self.push(Plain::Largest(x, w), handle)
    }

    pub(crate) fn add(&mut self, a: usize, b: usize) -> usize {
        let handle = self.builder.add(self.handles[a], self.handles[b]).unwrap();
        self.push(Plain::Add(a, b), handle)
    }

    pub(crate) fn clamp(&mut self, x: usize, c: Clamp) -> usize {
        let handle = self.builder.clamp(self.handles[x], c);
        self.push(Plain::Clamp(x, c), handle)
    }

    pub(crate) fn smooth(&mut self, x: usize, f: Function) -> usize {
        let handle = self.builder.smooth(self.handles[x], f);
        self.push(Plain::Smooth(x, f), handle)
    }

    pub(crate) fn join(&mut self, parts: &[usize]) -> usize {
        let handles: Vec<Value> = parts.iter().map(|p| self.handles[*p]).collect();
        let handle = self.builder.join(&handles).unwrap();
        self.push(Plain::Join(parts.to_vec()), handle)
    }

    pub(crate) fn rearrange(&mut self, x: usize, map: Map, order: Vec<u32>) -> usize {
        let handle = self
            .builder
            .rearrange(self.handles[x], map, &order)
            .unwrap();
        self.push(Plain::Rearrange(x, order), handle)
    }

    pub(crate) fn affine(&mut self, x: usize, scale: Vec<f32>, shift: Vec<f32>) -> usize {
        let handle = self
            .builder
            .affine(self.handles[x], &scale, &shift)
            .unwrap();
        self.push(Plain::Affine(x, scale, shift), handle)
    }

    pub(crate) fn spread(&mut self, x: usize, height: usize, width: usize) -> usize {
        let handle = self.builder.spread(self.handles[x], height, width).unwrap();
        self.push(Plain::Spread(x), handle)
    }

    pub(crate) fn multiply(&mut self, a: usize, b: usize) -> usize {
        let handle = self
            .builder
            .multiply(self.handles[a], self.handles[b])
            .unwrap();
        self.push(Plain::Multiply(a, b), handle)
    }

    pub(crate) fn product(&mut self, a: usize, b: usize) -> usize {
        let handle = self
            .builder
            .product(self.handles[a], self.handles[b])
            .unwrap();
        self.push(Plain::Product(a, b), handle)
    }

    pub(crate) fn normalise(&mut self, x: usize, epsilon: f32) -> usize {
        let handle = self.builder.normalise(self.handles[x], epsilon);
        self.push(Plain::Normalise(x, epsilon), handle)
    }

    pub(crate) fn softmax(&mut self, x: usize, is_log: bool) -> usize {
        let handle = self.builder.softmax(self.handles[x], is_log);
        self.push(Plain::Softmax(x, is_log), handle)
    }

    /// Every product of two matrices: place in the output, in the left factor, in the right one.
    fn products(&self, a: usize, b: usize, mut each: impl FnMut(usize, usize, usize)) {
        let (x, y) = (self.map(a), self.map(b));
        let at = |m: Map, c: usize, line: usize, p: usize| (c * m.height + line) * m.width + p;
        let out = Map::new(y.channels, x.height, x.width);
        for line in 0..x.height {
            for m in 0..x.width {
                for n in 0..y.channels {
                    for k in 0..x.channels {
                        each(at(out, n, line, m), at(x, k, line, m), at(y, n, line, k));
                    }
                }
            }
        }
    }

    /// Values and, for an output's gradient, input gradient of what mixes the channels of a pixel.
    fn mixed(&self, at: usize, x: usize, values: &[f64], dy: Option<&[f64]>) -> Vec<f64> {
        let map = self.map(x);
        let (n, pixels) = (map.channels, map.height * map.width);
        let mut out = vec![0.0; values.len()];
        for p in 0..pixels {
            let own: Vec<f64> = (0..n).map(|c| values[c * pixels + p]).collect();
            let given: Option<Vec<f64>> = dy.map(|d| (0..n).map(|c| d[c * pixels + p]).collect());
            let mean = |v: &[f64]| v.iter().sum::<f64>() / n as f64;
            let result: Vec<f64> = match &self.plain[at] {
                Plain::Normalise(_, epsilon) => {
                    let m = mean(&own);
                    let variance = mean(&own.iter().map(|v| (v - m) * (v - m)).collect::<Vec<_>>());
                    let s = 1.0 / (variance + f64::from(*epsilon)).sqrt();
                    let y: Vec<f64> = own.iter().map(|v| (v - m) * s).collect();
                    match given {
                        None => y,
                        Some(d) => {
                            let along =
                                mean(&d.iter().zip(&y).map(|(d, y)| d * y).collect::<Vec<_>>());
                            let level = mean(&d);
                            d.iter()
                                .zip(&y)
                                .map(|(d, y)| (d - level - y * along) * s)
                                .collect()
                        }
                    }
                }
                Plain::Softmax(_, is_log) => {
                    let most = own.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                    let sum: f64 = own.iter().map(|v| (v - most).exp()).sum();
                    let y: Vec<f64> = own.iter().map(|v| (v - most).exp() / sum).collect();
                    match (given, is_log) {
                        (None, false) => y,
                        (None, true) => y.iter().map(|y| y.ln()).collect(),
                        (Some(d), false) => {
                            let along: f64 = d.iter().zip(&y).map(|(d, y)| d * y).sum();
                            d.iter().zip(&y).map(|(d, y)| y * (d - along)).collect()
                        }
                        (Some(d), true) => {
                            let all: f64 = d.iter().sum();
                            d.iter().zip(&y).map(|(d, y)| d - y * all).collect()
                        }
                    }
                }
                other => panic!("{other:?} mixes no channels"),
            };
            result
                .into_iter()
                .enumerate()
                .for_each(|(c, v)| out[c * pixels + p] = v);
        }
        out
    }

    /// The operations that lead to the last value, for bounds.
    pub(crate) fn program(&self) -> Program {
        Program::new(self.builder.clone(), *self.handles.last().unwrap())
    }

    /// The compiled network that computes the last value.
    pub(crate) fn compiled(&self, isa: Isa) -> Arc<Network> {
        Arc::new(
            self.builder
                .clone()
                .finish_for(*self.handles.last().unwrap(), isa),
        )
    }

    /// Output and input gradient of one row.
    #[allow(clippy::too_many_lines)] // an arm per operation, twice
    pub(crate) fn run(&self, row: &[f32], weights: &[f32]) -> (Vec<f64>, Vec<f64>) {
        let mut values: Vec<Vec<f64>> = Vec::new();
        for (at, op) in self.plain.iter().enumerate() {
            values.push(match op {
                Plain::Input => row.iter().map(|x| self.number(*x)).collect(),
                Plain::Add(a, b) => values[*a]
                    .iter()
                    .zip(&values[*b])
                    .map(|(a, b)| a + b)
                    .collect(),
                Plain::Clamp(x, c) => values[*x].iter().map(|v| self.clamped(*c, *v).0).collect(),
                Plain::Smooth(x, f) => values[*x].iter().map(|v| self.smoothed(*f, *v)).collect(),
                Plain::Join(parts) => parts.iter().flat_map(|p| values[*p].clone()).collect(),
                Plain::Affine(x, scale, shift) => {
                    let numbers = scale.iter().zip(shift).zip(&values[*x]);
                    numbers
                        .map(|((a, b), v)| self.number(*a) * v + self.number(*b))
                        .collect()
                }
                Plain::Spread(x) => {
                    let pixels = self.map(at).features() / values[*x].len();
                    values[*x]
                        .iter()
                        .flat_map(|v| std::iter::repeat_n(*v, pixels))
                        .collect()
                }
                Plain::Multiply(a, b) => values[*a]
                    .iter()
                    .zip(&values[*b])
                    .map(|(a, b)| a * b)
                    .collect(),
                Plain::Product(a, b) => {
                    let mut out = vec![0.0; self.map(at).features()];
                    self.products(*a, *b, |o, l, r| out[o] += values[*a][l] * values[*b][r]);
                    out
                }
                Plain::Normalise(x, _) | Plain::Softmax(x, _) => {
                    self.mixed(at, *x, &values[*x], None)
                }
                Plain::Rearrange(x, order) => {
                    order.iter().map(|i| values[*x][*i as usize]).collect()
                }
                Plain::Largest(x, w) => {
                    let mut out = vec![f64::NAN; self.map(at).features()];
                    self.windows(*x, at, w, |o, i, _, _| {
                        if out[o].is_nan() || values[*x][i] > out[o] {
                            out[o] = values[*x][i];
                        }
                    });
                    out
                }
                _ => {
                    let mut out = self.shifts(at);
                    self.linear(at, |o, i, w| out[o] += w * values[self.input(at)][i]);
                    out
                }
            });
        }
        let mut gradients: Vec<Vec<f64>> = values.iter().map(|v| vec![0.0; v.len()]).collect();
        *gradients.last_mut().unwrap() = weights.iter().map(|w| self.number(*w)).collect();
        for (at, op) in self.plain.iter().enumerate().rev() {
            let own = gradients[at].clone();
            match op {
                Plain::Input => {}
                Plain::Add(a, b) => {
                    for x in [*a, *b] {
                        gradients[x].iter_mut().zip(&own).for_each(|(g, o)| *g += o);
                    }
                }
                Plain::Clamp(x, c) => {
                    for (i, g) in own.iter().enumerate() {
                        gradients[*x][i] += g * self.clamped(*c, values[*x][i]).1;
                    }
                }
                Plain::Smooth(x, f) => {
                    for (i, g) in own.iter().enumerate() {
                        let (v, h) = (values[*x][i], 1e-5);
                        gradients[*x][i] +=
                            g * (self.smoothed(*f, v + h) - self.smoothed(*f, v - h)) / (2.0 * h);
                    }
                }
                Plain::Join(parts) => {
                    let mut from = 0;
                    for p in parts {
                        let n = gradients[*p].len();
                        gradients[*p]
                            .iter_mut()
                            .zip(&own[from..from + n])
                            .for_each(|(g, o)| *g += o);
                        from += n;
                    }
                }
                Plain::Affine(x, scale, _) => {
                    for (i, g) in own.iter().enumerate() {
                        gradients[*x][i] += g * self.number(scale[i]);
                    }
                }
                Plain::Spread(x) => {
                    let pixels = own.len() / gradients[*x].len();
                    for (i, g) in own.iter().enumerate() {
                        gradients[*x][i / pixels] += g;
                    }
                }
                Plain::Multiply(a, b) => {
                    for (i, g) in own.iter().enumerate() {
                        gradients[*a][i] += g * values[*b][i];
                        gradients[*b][i] += g * values[*a][i];
                    }
                }
                Plain::Product(a, b) => self.products(*a, *b, |o, l, r| {
                    gradients[*a][l] += own[o] * values[*b][r];
                    gradients[*b][r] += own[o] * values[*a][l];
                }),
                Plain::Normalise(x, _) | Plain::Softmax(x, _) => {
                    let given = self.mixed(at, *x, &values[*x], Some(&own));
                    gradients[*x]
                        .iter_mut()
                        .zip(given)
                        .for_each(|(g, d)| *g += d);
                }
                Plain::Rearrange(x, order) => {
                    order
                        .iter()
                        .zip(&own)
                        .for_each(|(i, g)| gradients[*x][*i as usize] += g);
                }
                Plain::Largest(x, w) => {
                    let mut given = vec![false; own.len()];
                    let x = *x;
                    self.windows(x, at, w, |o, i, _, _| {
                        if self.sizes || !given[o] && values[x][i] == values[at][o] {
                            given[o] = true;
                            gradients[x][i] += own[o];
                        }
                    });
                }
                _ => {
                    let x = self.input(at);
                    self.linear(at, |o, i, w| gradients[x][i] += w * own[o]);
                }
            }
        }
        (values.pop().unwrap(), gradients.swap_remove(0))
    }

    /// What [`Self::run`] gives with all numbers replaced by their size.
    pub(crate) fn sizes(&self, row: &[f32], weights: &[f32]) -> (Vec<f64>, Vec<f64>) {
        Self {
            sizes: true,
            ..self.clone()
        }
        .run(row, weights)
    }

    fn number(&self, x: f32) -> f64 {
        if self.sizes {
            f64::from(x.abs())
        } else {
            f64::from(x)
        }
    }

    /// Value and slope; sizes pass as they are.
    fn clamped(&self, c: Clamp, x: f64) -> (f64, f64) {
        if self.sizes { (x, 1.0) } else { clamped(c, x) }
    }

    fn smoothed(&self, f: Function, x: f64) -> f64 {
        if self.sizes { x } else { smooth(f, x) }
    }

    fn input(&self, at: usize) -> usize {
        match &self.plain[at] {
            Plain::Convolution(x, _) | Plain::Scale(x, _) | Plain::Average(x, _) => *x,
            other => panic!("{other:?} is not linear in one value"),
        }
    }

    fn shifts(&self, at: usize) -> Vec<f64> {
        let map = self.map(at);
        let each = map.height * map.width;
        let of = |shift: &[f32]| {
            (0..map.features())
                .map(|i| shift.get(i / each).map_or(0.0, |s| self.number(*s)))
                .collect()
        };
        match &self.plain[at] {
            Plain::Convolution(_, c) => of(&c.bias),
            Plain::Scale(_, s) => of(&s.shift),
            _ => of(&[]),
        }
    }

    /// Every product of a linear operation: place in the output, place in the input, weight.
    fn linear(&self, at: usize, mut each: impl FnMut(usize, usize, f64)) {
        let x = self.input(at);
        let (map, out) = (self.map(x), self.map(at));
        match &self.plain[at] {
            Plain::Scale(_, s) => {
                let pixels = map.height * map.width;
                (0..map.features()).for_each(|i| each(i, i, self.number(s.scale[i / pixels])));
            }
            Plain::Average(_, w) => {
                let share = 1.0 / (w.size[0] * w.size[1]) as f64;
                self.windows(x, at, w, |o, i, _, _| each(o, i, share));
            }
            Plain::Convolution(_, c) => {
                let (taps, per) = (c.window.size[0] * c.window.size[1], map.channels / c.groups);
                let (pixels, all) = (map.height * map.width, out.height * out.width);
                // Windows are those of one channel; all pairs of channels in a group share them.
                let mut pairs = Vec::new();
                windows(
                    Map::new(1, map.height, map.width),
                    Map::new(1, out.height, out.width),
                    &c.window,
                    |o, i, _, tap| {
                        pairs.push((o, i, tap));
                    },
                );
                for o in 0..c.out {
                    let group = o / (c.out / c.groups);
                    for k in 0..per {
                        for (po, pi, tap) in &pairs {
                            let w = self.number(c.weights[(o * per + k) * taps + tap]);
                            each(o * all + po, (group * per + k) * pixels + pi, w);
                        }
                    }
                }
            }
            other => panic!("{other:?} is not linear"),
        }
    }

    fn windows(
        &self,
        x: usize,
        at: usize,
        w: &Window,
        each: impl FnMut(usize, usize, usize, usize),
    ) {
        windows(self.map(x), self.map(at), w, each);
    }
}

/// Every pixel inside the map of every window: place in the output, place in the input, channel, place in the window.
fn windows(map: Map, out: Map, w: &Window, mut each: impl FnMut(usize, usize, usize, usize)) {
    for c in 0..out.channels {
        for y in 0..out.height {
            for x in 0..out.width {
                for ky in 0..w.size[0] {
                    for kx in 0..w.size[1] {
                        let iy = (y * w.stride[0] + ky * w.dilation[0]).wrapping_sub(w.pads[0][0]);
                        let ix = (x * w.stride[1] + kx * w.dilation[1]).wrapping_sub(w.pads[1][0]);
                        if iy < map.height && ix < map.width {
                            let o = (c * out.height + y) * out.width + x;
                            each(
                                o,
                                (c * map.height + iy) * map.width + ix,
                                c,
                                ky * w.size[1] + kx,
                            );
                        }
                    }
                }
            }
        }
    }
}

fn clamped(c: Clamp, x: f64) -> (f64, f64) {
    match c {
        Clamp::Leaky { slope } if x <= 0.0 => (x * f64::from(slope), f64::from(slope)),
        Clamp::Clip { low, .. } if x < f64::from(low) => (f64::from(low), 0.0),
        Clamp::Clip { high, .. } if x > f64::from(high) => (f64::from(high), 0.0),
        _ => (x, 1.0),
    }
}

fn smooth(f: Function, x: f64) -> f64 {
    match f {
        Function::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        Function::Tanh => x.tanh(),
        Function::Silu => x / (1.0 + (-x).exp()),
        Function::HardSigmoid { alpha, beta } => {
            (f64::from(alpha) * x + f64::from(beta)).clamp(0.0, 1.0)
        }
        Function::HardSwish => x * (x / 6.0 + 0.5).clamp(0.0, 1.0),
        Function::Erf => erf(x),
        Function::Gelu => 0.5 * x * (1.0 + erf(x * std::f64::consts::FRAC_1_SQRT_2)),
        Function::Elu { alpha } => {
            if x > 0.0 {
                x
            } else {
                f64::from(alpha) * x.exp_m1()
            }
        }
        Function::Bend(step) => {
            let [at, below, above, width] =
                [step.at, step.below, step.above, step.width].map(f64::from);
            let t = (x - at) / width;
            f64::midpoint(below, above) + (above - below) / 2.0 * t / (1.0 + t.abs())
        }
        other => panic!("{other:?} has no plain twin"),
    }
}

/// The error function by its series; beyond 4 it differs from 1 by less than 2e-8.
fn erf(x: f64) -> f64 {
    if x.abs() > 4.0 {
        return x.signum();
    }
    let (mut term, mut sum) = (x, x);
    for n in 1..100 {
        term *= -x * x / f64::from(n);
        sum += term / f64::from(2 * n + 1);
    }
    sum * std::f64::consts::FRAC_2_SQRT_PI
}

/// Numbers between -1 and 1, the same for the same seed.
pub(crate) fn scattered(n: usize, seed: usize) -> Vec<f32> {
    let mut state = seed as u64 ^ 0x9e37_79b9_7f4a_7c15;
    (0..n)
        .map(|_| {
            // SplitMix64.
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^= z >> 31;
            (z >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        })
        .collect()
}

/// Compares outputs and input gradients as shares of the largest of their row: for networks whose sums have no simple
/// bound.
pub(crate) fn assert_near(twin: &Twin, rows: usize, share: f64) {
    let (features, width) = (
        twin.map(0).features(),
        twin.map(twin.plain.len() - 1).features(),
    );
    let (x, weights) = (scattered(rows * features, 1), scattered(rows * width, 2));
    for isa in Isa::all() {
        let (scores, saved) = twin.compiled(isa).forward_saved(&x);
        let gradient = saved.gradient(&weights);
        for r in 0..rows {
            let (y, dx) = twin.run(
                &x[r * features..][..features],
                &weights[r * width..][..width],
            );
            for (given, right) in [
                (&scores[r * width..][..width], y),
                (&gradient[r * features..][..features], dx),
            ] {
                let most = right.iter().fold(0f64, |m, v| m.max(v.abs()));
                for (g, v) in given.iter().zip(&right) {
                    assert!(
                        (f64::from(*g) - v).abs() <= share * most,
                        "{isa:?}, row {r}: {g}, not {v} of {most}"
                    );
                }
            }
        }
    }
}

/// Runs a twin on rows with every instruction set, and compares outputs and input gradients: within `tolerance` times
/// the sums of sizes.
pub(crate) fn assert_twins(twin: &Twin, rows: usize, tolerance: f64) {
    let (features, width) = (
        twin.map(0).features(),
        twin.map(twin.plain.len() - 1).features(),
    );
    let x = scattered(rows * features, 1);
    let weights = scattered(rows * width, 2);
    for isa in Isa::all() {
        let (scores, saved) = twin.compiled(isa).forward_saved(&x);
        let gradient = saved.gradient(&weights);
        for r in 0..rows {
            let (row, dy) = (
                &x[r * features..][..features],
                &weights[r * width..][..width],
            );
            let (y, dx) = twin.run(row, dy);
            let (y_size, dx_size) = twin.sizes(row, dy);
            let check = |what: &str, given: &[f32], right: &[f64], size: &[f64]| {
                for (i, ((g, r), s)) in given.iter().zip(right).zip(size).enumerate() {
                    let apart = (f64::from(*g) - r).abs();
                    assert!(
                        apart <= tolerance * s + 1e-12,
                        "{isa:?}, {what} {i} of row: {g}, not {r} ({s})"
                    );
                }
            };
            check("output", &scores[r * width..][..width], &y, &y_size);
            check(
                "gradient",
                &gradient[r * features..][..features],
                &dx,
                &dx_size,
            );
        }
    }
}
