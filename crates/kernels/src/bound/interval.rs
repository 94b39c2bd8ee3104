//! One interval per value, sent forward through the operations.

use crate::operation::Operation;

use super::sums::{MOST, TINY};
use super::{Program, relax};

/// The values of an operation over a box.
#[derive(Debug, Clone)]
pub(super) struct Range {
    pub(super) low: Vec<f64>,
    pub(super) high: Vec<f64>,
    /// How far rounding may take each value of a linear operation from the exact sum of its terms; empty for others.
    pub(super) slack: Vec<f64>,
    /// Whether some magnitude exceeded the range of `f32`.
    overflow: bool,
}

impl Range {
    pub(super) fn new(low: Vec<f64>, high: Vec<f64>) -> Self {
        Self {
            low,
            high,
            slack: Vec::new(),
            overflow: false,
        }
    }

    /// Whether all values are ordinary `f32` numbers.
    pub(super) fn is_finite(&self) -> bool {
        // Written so that a NaN fails.
        let fine = |(l, h): (&f64, &f64)| *l >= -MOST && *h <= MOST && l <= h;
        !self.overflow && self.low.iter().zip(&self.high).all(fine)
    }

    /// Narrows one value to a bound of another kind; both hold. Two bounds that rounding sets apart stay as they are.
    pub(super) fn narrow(&mut self, j: usize, low: f64, high: f64) {
        let (l, h) = (self.low[j].max(low), self.high[j].min(high));
        if l <= h {
            (self.low[j], self.high[j]) = (l, h);
        }
    }

    /// Largest magnitude of a value.
    #[inline]
    pub(super) fn most(&self, j: usize) -> f64 {
        self.low[j].abs().max(self.high[j].abs())
    }

    /// Middles and half widths.
    fn halves(&self) -> (Vec<f64>, Vec<f64>) {
        let pairs = self.low.iter().zip(&self.high);
        let halves = |(l, h): (&f64, &f64)| {
            let middle = 0.5 * (l + h);
            (middle, (h - middle).max(middle - l))
        };
        pairs.map(halves).unzip()
    }
}

impl Program {
    /// The range of an operation's values, from those of the values it reads.
    pub(super) fn interval(&self, at: usize, ranges: &[Option<Range>]) -> Range {
        let of = |v: usize| ranges[v].as_ref().expect("operations are in order");
        let n = self.net.maps[at].features();
        if self.is_copy(at) {
            let mut range = Range::new(vec![0.0; n], vec![0.0; n]);
            for j in 0..n {
                self.terms(at, j, |v, i, _| {
                    (range.low[j], range.high[j]) = (of(v).low[i], of(v).high[i]);
                });
            }
            range.slack = vec![0.0; n];
            return range;
        }
        if self.is_linear(at) {
            return self.weighted(at, ranges, n);
        }
        let (low, high) = match &self.net.operations[at] {
            Operation::Largest(x, _) => {
                let x = of(*x);
                let largest = |ends: &[f64], j: usize| {
                    let window = self.window_of(at, j);
                    window
                        .iter()
                        .map(|i| ends[*i])
                        .fold(f64::NEG_INFINITY, f64::max)
                };
                (0..n)
                    .map(|j| (largest(&x.low, j), largest(&x.high, j)))
                    .unzip()
            }
            Operation::Multiply(a, b) => {
                let (a, b) = (of(*a), of(*b));
                let product =
                    |j: usize| relax::product([a.low[j], a.high[j]], [b.low[j], b.high[j]]);
                (0..n).map(product).map(|[l, h]| (l, h)).unzip()
            }
            operation => {
                let x = of(operation.only_input());
                let image = |j: usize| relax::image(operation, x.low[j], x.high[j]);
                (0..n).map(image).map(|[l, h]| (l, h)).unzip()
            }
        };
        Range::new(low, high)
    }

    /// The range of a linear operation.
    fn weighted(&self, at: usize, ranges: &[Option<Range>], n: usize) -> Range {
        let mut halves: Vec<(Vec<f64>, Vec<f64>)> = vec![Default::default(); at];
        for v in self.net.operations[at].inputs() {
            halves[v] = ranges[v]
                .as_ref()
                .expect("operations are in order")
                .halves();
        }
        let rounding = self.rounding(at);
        let mut range = Range::new(vec![0.0; n], vec![0.0; n]);
        range.slack = vec![0.0; n];
        for j in 0..n {
            let constant = self.constant(at, j);
            let (mut middle, mut width, mut mass) = (constant, 0.0, constant.abs());
            self.terms(at, j, |v, i, w| {
                let (m, r) = (halves[v].0[i], halves[v].1[i]);
                middle += w * m;
                width += w.abs() * r;
                mass += w.abs() * (m.abs() + r);
            });
            // The sums here are in `f64`: their error is at most a 2^-20th of this, which the terms beside cover.
            let slack = rounding * mass + TINY;
            range.overflow |= mass.is_nan() || mass > MOST;
            range.slack[j] = slack;
            (range.low[j], range.high[j]) = (middle - width - slack, middle + width + slack);
        }
        range
    }
}
