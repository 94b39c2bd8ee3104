//! Linear functions of a value, followed back to the inputs.
//!
//! # Maths
//! With `ŷ = b + Σ w x̂ + e`, `|e| <= slack`, a function `Σ a ŷ` is `Σ a b + Σ (a w) x̂` up to `Σ |a| slack`: an equation
//! between the numbers that the network computes. An activation is replaced by the line below it where its coefficient is
//! not negative, and by the line above it elsewhere. At the inputs the box gives the least value.
//!
//! Coefficients are computed in `f64`. A coefficient `Σ a w` of up to 2^30 terms is off by at most `2^-22 Σ |a||w|`, so the
//! function by at most `2^-22 Σ |a| Σ |w| |x̂|`, and `slack` is at least `2^-20 Σ |w| |x̂|`: adding it twice covers both.
//! Copies and activations have no slack of that kind; a share of their own magnitude is added for them. What is added to
//! the constant is rounded too; a share of all magnitudes added covers that.

use crate::operation::Operation;

use super::interval::Range;
use super::relax::{self, Lines};
use super::{Method, Program};

/// Share of a magnitude that covers rounding in `f64` over sums of up to 2^12 readers of a value.
const SHARE: f64 = 1.0 / (1u64 << 40) as f64;

/// Linear functions on their way back, `[features][functions]` per value.
struct Functions {
    n: usize,
    /// Coefficients per value; none where all are 0.
    coefficients: Vec<Option<Vec<f64>>>,
    constant: Vec<f64>,
    /// To be subtracted in the end.
    slack: Vec<f64>,
    /// Magnitudes that were added to `constant`.
    mass: Vec<f64>,
}

impl Functions {
    /// Adds `factor * a` to the coefficients of a feature.
    #[inline]
    fn add(&mut self, value: usize, features: usize, feature: usize, a: &[f64], factor: f64) {
        let n = self.n;
        let all = self.coefficients[value].get_or_insert_with(|| vec![0.0; features * n]);
        for (c, a) in all[feature * n..][..n].iter_mut().zip(a) {
            *c += a * factor;
        }
    }

    #[inline]
    fn add_constant(&mut self, r: usize, term: f64) {
        self.constant[r] += term;
        self.mass[r] += term.abs();
    }
}

impl Program {
    /// Lower bounds of linear functions of a value, `[n, features]`.
    pub(super) fn backward(
        &self,
        ranges: &[Option<Range>],
        value: usize,
        functions: &[f64],
        method: Method,
    ) -> Vec<f64> {
        let features = self.net.maps[value].features();
        let n = functions.len() / features;
        let mut f = Functions {
            n,
            coefficients: vec![None; value + 1],
            constant: vec![0.0; n],
            slack: vec![0.0; n],
            mass: vec![0.0; n],
        };
        let mut start = vec![0.0; features * n];
        for r in 0..n {
            for j in 0..features {
                start[j * n + r] = functions[r * features + j];
            }
        }
        f.coefficients[value] = Some(start);
        let mut terms = 64;
        for at in (0..=value).rev() {
            let Some(a) = f.coefficients[at].take() else {
                continue;
            };
            let range = ranges[at].as_ref().expect("it was computed");
            terms += range.low.len();
            let is_end = at == 0 || (method == Method::Interval && !self.is_linear(at));
            if is_end {
                concretise(&mut f, &a, range);
            } else if self.is_linear(at) {
                self.through_sums(&mut f, at, &a, range);
            } else {
                self.through_lines(&mut f, at, &a, ranges);
            }
        }
        let rounding = terms as f64 * f64::EPSILON;
        (0..n)
            .map(|r| {
                let sure = f.constant[r] - f.slack[r] * (1.0 + 1e-6) - f.mass[r] * rounding;
                if sure.is_nan() {
                    f64::NEG_INFINITY
                } else {
                    sure
                }
            })
            .collect()
    }

    fn through_sums(&self, f: &mut Functions, at: usize, a: &[f64], range: &Range) {
        let n = f.n;
        for j in 0..range.low.len() {
            let a = &a[j * n..][..n];
            if a.iter().all(|c| *c == 0.0) {
                continue;
            }
            let constant = self.constant(at, j);
            let slack = 2.0 * range.slack[j] + SHARE * range.most(j);
            for (r, c) in a.iter().enumerate() {
                f.add_constant(r, c * constant);
                f.slack[r] += c.abs() * slack;
            }
            self.terms(at, j, |v, i, w| {
                f.add(v, self.net.maps[v].features(), i, a, w);
            });
        }
    }

    fn through_lines(&self, f: &mut Functions, at: usize, a: &[f64], ranges: &[Option<Range>]) {
        let n = f.n;
        let range = ranges[at].as_ref().expect("it was computed");
        for j in 0..range.low.len() {
            let a = &a[j * n..][..n];
            if a.iter().all(|c| *c == 0.0) {
                continue;
            }
            let lines = self.lines(at, j, range, ranges);
            for (side, line) in [(1.0, lines.below), (-1.0, lines.above)] {
                // The coefficients that take this line.
                let own: Vec<f64> = a
                    .iter()
                    .map(|c| if c * side > 0.0 { *c } else { 0.0 })
                    .collect();
                if own.iter().all(|c| *c == 0.0) {
                    continue;
                }
                let mut most = range.most(j) + line.constant.abs();
                if let Some((v, i)) = line.of {
                    let input = ranges[v].as_ref().expect("it was computed");
                    most += (line.slope * input.most(i)).abs();
                    f.add(v, input.low.len(), i, &own, line.slope);
                }
                for (r, c) in own.iter().enumerate() {
                    f.add_constant(r, c * line.constant);
                    f.slack[r] += c.abs() * SHARE * most;
                }
            }
        }
    }

    /// The lines around the `j`th value of an operation that is not linear.
    fn lines(&self, at: usize, j: usize, range: &Range, ranges: &[Option<Range>]) -> Lines {
        match &self.net.operations[at] {
            Operation::Largest(x, _) => {
                let input = ranges[*x].as_ref().expect("it was computed");
                let window = self.window_of(at, j);
                relax::largest(*x, &window, &input.low, &input.high, range.high[j])
            }
            Operation::Multiply(..) => Lines::constant(range.low[j], range.high[j]),
            operation => {
                let x = operation.only_input();
                let input = ranges[x].as_ref().expect("it was computed");
                relax::lines(operation, (x, j), input.low[j], input.high[j])
            }
        }
    }
}

/// Adds the least value of linear functions over a range.
fn concretise(f: &mut Functions, a: &[f64], range: &Range) {
    let n = f.n;
    for j in 0..range.low.len() {
        let (low, high) = (range.low[j], range.high[j]);
        let most = range.most(j);
        for r in 0..n {
            let c = a[j * n + r];
            if c != 0.0 {
                f.add_constant(r, if c > 0.0 { c * low } else { c * high });
                f.slack[r] += c.abs() * SHARE * most;
            }
        }
    }
}
