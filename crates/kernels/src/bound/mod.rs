//! Bounds on the outputs of a network over a box of inputs.
//!
//! # Idea
//! [`Method::Interval`] sends the box through the operations, one interval per value, and bounds a linear function of the
//! outputs through the last linear operations together: scores that rise and fall together do so in their difference.
//! [`Method::Linear`] encloses each activation between two lines and follows a linear function of the outputs back to the
//! inputs, and does the same for every value that an activation reads.
//!
//! # Maths
//! For a sum `y = b + Σ w x` of `k` terms, any order of adding them in `f32`, with or without fused multiply-adds, gives a
//! number within `γ (|b| + Σ |w||x|)` of the exact one, `γ = k u / (1 - k u)` and `u = 2^-24` (Higham, "Accuracy and
//! Stability of Numerical Algorithms", section 3.1). Every sum is widened by that, with a few terms more for factors folded
//! into weights, and every smooth function by more than the error of its polynomial. So bounds hold for the scores that the
//! network computes in `f32`, not only for exact arithmetic. They are computed in `f64`, whose own rounding is added too:
//! `linear.rs` says why the same widening covers most of it.
//!
//! # Reference
//! Gowal et al., "On the Effectiveness of Interval Bound Propagation", arXiv:1810.12715. Zhang et al., "Efficient Neural
//! Network Robustness Certification with General Activation Functions" (CROWN), `NeurIPS` 2018; Singh et al., "An Abstract
//! Domain for Certifying Neural Networks" (`DeepPoly`), POPL 2019.
//!
//! # Divergences
//! Every value that an activation reads has the intersection of both bounds. Lines below a `ReLU` have slope 0 or 1,
//! whichever leaves less area; slopes are not optimised. A pooling that no value wins for certain, and a product of two
//! values, are bounded from above by a constant.
//!
//! # Cost
//! Intervals: three multiply-adds per multiply-add of the network. Linear: two passes back through the network per value
//! that an activation reads and whose sign is open.
//!
//! # When it fails
//! Intervals double at about every layer of a network that was not trained for them; linear bounds do so at large boxes.
//! A bound that proves nothing says nothing about the network.

mod interval;
mod linear;
mod relax;
mod sums;

use std::sync::Arc;

use crate::builder::{Builder, Value};
use crate::fuse::readers;
use crate::operation::Operation;

use interval::Range;

/// How outputs are bounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Intervals, and the last linear operations together.
    Interval,
    /// Lines around each activation, followed back to the inputs.
    Linear,
}

/// Why there are no bounds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BoundError {
    /// An operation without bounds.
    #[error(
        "{node}: there are no bounds for {operation}; expected convolutions, matrix products with constants, sums, poolings, batch norms, piecewise linear, sigmoid-like and gated activations"
    )]
    Unsupported {
        /// The node, or the operation's number.
        node: String,
        /// The operation.
        operation: &'static str,
    },
    /// A value may exceed the range of `f32` in the box.
    #[error("{node}: a value of {operation} may exceed the range of 32-bit numbers in this box")]
    Overflow {
        /// The node, or the operation's number.
        node: String,
        /// The operation.
        operation: &'static str,
    },
    /// A box that is none, or has another number of features.
    #[error("{0}")]
    Box(String),
}

/// A change of a row before it enters the network.
#[derive(Debug, Clone)]
enum Front {
    /// Feature `i` is feature `order[i]` of the row.
    Order(Vec<u32>),
    /// `(x * scale - shift) / divisor` per feature.
    Affine {
        scale: f64,
        shift: Vec<f64>,
        divisor: Vec<f64>,
    },
}

/// The operations of a network up to one value, for bounds on its outputs.
///
/// ```
/// use proofmark_kernels::{Builder, Clamp, Map, Method, Program};
///
/// let mut net = Builder::new(Map::new(2, 1, 1))?;
/// let x = net.input();
/// let hidden = net.dense(x, vec![1.0, -1.0, 1.0, 1.0], vec![])?;
/// let hidden = net.clamp(hidden, Clamp::RELU);
/// let scores = net.dense(hidden, vec![1.0, 1.0, 0.0, -1.0], vec![0.5, 0.0])?;
/// let program = Program::new(net, scores);
/// // Class 0 is above class 1 everywhere in this box.
/// let margin = program.lower(&[0.0, 0.0], &[1.0, 1.0], &[1.0, -1.0], Method::Interval)?;
/// assert!((margin[0] - 0.5).abs() < 1e-4);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Program {
    net: Builder,
    output: usize,
    /// Which operations the output needs.
    needed: Vec<bool>,
    /// Which operations read a value.
    readers: Vec<Vec<usize>>,
    /// Changes before the network, in their order.
    front: Vec<Front>,
}

impl Program {
    /// The operations that lead to `output`.
    pub fn new(net: Builder, output: Value) -> Self {
        let (needed, readers) = readers(&net, output.0);
        Self {
            net,
            output: output.0,
            needed,
            readers,
            front: Vec::new(),
        }
    }

    /// The same program for rows whose feature `order[i]` is feature `i` of those it takes now.
    ///
    /// # Panics
    /// If `order` is not a permutation of the features.
    #[must_use]
    pub fn reordered(mut self, order: Vec<u32>) -> Self {
        let mut sorted = order.clone();
        sorted.sort_unstable();
        let whole = (0..self.features() as u32).collect::<Vec<u32>>();
        assert_eq!(sorted, whole, "an order of the features");
        self.front.insert(0, Front::Order(order));
        self
    }

    /// The same program for rows that are changed to `(x * scale - shift) / divisor`, per feature, before they enter.
    ///
    /// # Panics
    /// If there is not one `shift` and one `divisor` per feature, or a divisor is not above 0.
    #[must_use]
    pub fn scaled(mut self, scale: f32, shift: &[f32], divisor: &[f32]) -> Self {
        let n = self.features();
        assert_eq!(
            (shift.len(), divisor.len()),
            (n, n),
            "one number per feature"
        );
        assert!(divisor.iter().all(|d| *d > 0.0), "divisors above 0");
        let wide = |v: &[f32]| v.iter().copied().map(f64::from).collect();
        let front = Front::Affine {
            scale: f64::from(scale),
            shift: wide(shift),
            divisor: wide(divisor),
        };
        self.front.insert(0, front);
        self
    }

    /// Number of features of a row.
    pub fn features(&self) -> usize {
        self.net.maps[0].features()
    }

    /// Number of outputs.
    pub fn outputs(&self) -> usize {
        self.net.maps[self.output].features()
    }

    /// Whether every operation has bounds; the error names the first that has none.
    pub fn check(&self) -> Result<(), BoundError> {
        match self.operations().find(|at| !self.is_bounded(*at)) {
            None => Ok(()),
            Some(at) => Err(BoundError::Unsupported {
                node: self.name(at),
                operation: self.net.operations[at].name(),
            }),
        }
    }

    /// Lower bounds of linear functions of the outputs over the box from `low` to `high`, one per row of `functions`
    /// (`[n, outputs]`): each is at most the function's value for the outputs that the network computes in `f32`, on any
    /// row of 32-bit numbers in the box. A bound may be negative infinity.
    pub fn lower(
        &self,
        low: &[f64],
        high: &[f64],
        functions: &[f64],
        method: Method,
    ) -> Result<Vec<f64>, BoundError> {
        assert!(
            functions.len().is_multiple_of(self.outputs()),
            "{} coefficients for {} outputs",
            functions.len(),
            self.outputs()
        );
        let ranges = self.ranges(low, high, method)?;
        let mut lower = self.backward(&ranges, self.output, functions, Method::Interval);
        if method == Method::Linear {
            let linear = self.backward(&ranges, self.output, functions, method);
            for (a, b) in lower.iter_mut().zip(linear) {
                *a = a.max(b);
            }
        }
        Ok(lower)
    }

    /// Bounds of each output over the box: lower and upper ends.
    pub fn outputs_over(
        &self,
        low: &[f64],
        high: &[f64],
        method: Method,
    ) -> Result<[Vec<f64>; 2], BoundError> {
        let n = self.outputs();
        let mut functions = vec![0.0; 2 * n * n];
        for i in 0..n {
            functions[i * n + i] = 1.0;
            functions[(n + i) * n + i] = -1.0;
        }
        let mut lower = self.lower(low, high, &functions, method)?;
        let upper = lower.split_off(n).into_iter().map(|v| -v).collect();
        Ok([lower, upper])
    }

    /// Lower bounds of `output[label] - output[other]` for every other output, in order, over the box.
    pub fn margins(
        &self,
        low: &[f64],
        high: &[f64],
        label: usize,
        method: Method,
    ) -> Result<Vec<f64>, BoundError> {
        let n = self.outputs();
        let others = (0..n).filter(|other| *other != label);
        let functions = others.flat_map(|other| {
            (0..n).map(move |i| match i {
                _ if i == label => 1.0,
                _ if i == other => -1.0,
                _ => 0.0,
            })
        });
        self.lower(low, high, &functions.collect::<Vec<f64>>(), method)
    }

    /// The operations that the output needs, in order, without the input.
    fn operations(&self) -> impl Iterator<Item = usize> + '_ {
        (1..=self.output).filter(|at| self.needed[*at])
    }

    fn is_bounded(&self, at: usize) -> bool {
        self.is_linear(at) || self.is_relaxed(at)
    }

    /// The node that an operation came from, for messages.
    fn name(&self, at: usize) -> String {
        let name: &Arc<str> = &self.net.names[at];
        if name.is_empty() {
            format!("operation {at} ({})", self.net.operations[at].name())
        } else {
            name.to_string()
        }
    }

    /// The box after the changes before the network.
    fn entered(&self, low: &[f64], high: &[f64]) -> Result<Range, BoundError> {
        let n = self.features();
        if low.len() != n || high.len() != n {
            return Err(BoundError::Box(format!(
                "a box of {} and {} ends; expected {n}, one per feature",
                low.len(),
                high.len()
            )));
        }
        let is_pair = |(l, h): (&f64, &f64)| l.is_finite() && h.is_finite() && l <= h;
        if let Some(f) = (0..n).find(|f| !is_pair((&low[*f], &high[*f]))) {
            return Err(BoundError::Box(format!(
                "feature {f} from {} to {}; expected finite ends in order",
                low[f], high[f]
            )));
        }
        let (mut low, mut high) = (low.to_vec(), high.to_vec());
        for front in &self.front {
            match front {
                Front::Order(order) => {
                    let moved = |v: &[f64]| order.iter().map(|i| v[*i as usize]).collect();
                    (low, high) = (moved(&low), moved(&high));
                }
                Front::Affine {
                    scale,
                    shift,
                    divisor,
                } => {
                    for f in 0..n {
                        let change = |x: f64| (x * scale - shift[f]) / divisor[f];
                        let (a, b) = (change(low[f]), change(high[f]));
                        let most = low[f].abs().max(high[f].abs());
                        // Four roundings, in whichever order.
                        let mass = (most * scale.abs() + shift[f].abs()) / divisor[f];
                        let slack = sums::widening(8) * mass + sums::TINY;
                        (low[f], high[f]) = (a.min(b) - slack, a.max(b) + slack);
                    }
                }
            }
        }
        Ok(Range::new(low, high))
    }

    /// The ranges of all values that the output needs.
    fn ranges(
        &self,
        low: &[f64],
        high: &[f64],
        method: Method,
    ) -> Result<Vec<Option<Range>>, BoundError> {
        self.check()?;
        let mut ranges: Vec<Option<Range>> = vec![None; self.output + 1];
        ranges[0] = Some(self.entered(low, high)?);
        for at in self.operations() {
            let mut range = self.interval(at, &ranges);
            if method == Method::Linear && !self.reads_input_alone(at) {
                ranges[at] = Some(range);
                let open = self.open(at, &ranges);
                if !open.is_empty() {
                    let refined = self.refined(&ranges, at, &open);
                    let range = ranges[at].as_mut().expect("just set");
                    for (j, [l, h]) in open.iter().zip(refined) {
                        range.narrow(*j, l, h);
                    }
                }
                range = ranges[at].take().expect("just set");
            }
            if !range.is_finite() {
                return Err(BoundError::Overflow {
                    node: self.name(at),
                    operation: self.net.operations[at].name(),
                });
            }
            ranges[at] = Some(range);
        }
        Ok(ranges)
    }

    /// Whether intervals are exact: an operation on the input, whose features are independent.
    fn reads_input_alone(&self, at: usize) -> bool {
        self.net.operations[at].inputs() == [0]
    }

    /// The features of a value whose bounds decide how an activation behind it is enclosed.
    fn open(&self, at: usize, ranges: &[Option<Range>]) -> Vec<usize> {
        let range = ranges[at].as_ref().expect("it was computed");
        let readers = &self.readers[at];
        let is_open = |j: usize| {
            readers.iter().any(|reader| {
                let operation = &self.net.operations[*reader];
                relax::is_open(operation, range.low[j], range.high[j])
            })
        };
        (0..range.low.len()).filter(|j| is_open(*j)).collect()
    }

    /// Linear bounds of some features of a value: `[low, high]` each.
    fn refined(&self, ranges: &[Option<Range>], at: usize, open: &[usize]) -> Vec<[f64; 2]> {
        use rayon::prelude::*;

        /// Features that are followed back together.
        const TOGETHER: usize = 32;
        let n = self.net.maps[at].features();
        let parts = open.par_chunks(TOGETHER).map(|features| {
            // Each feature, and its negative.
            let mut functions = vec![0.0; features.len() * 2 * n];
            for (k, j) in features.iter().enumerate() {
                functions[2 * k * n + j] = 1.0;
                functions[(2 * k + 1) * n + j] = -1.0;
            }
            let lower = self.backward(ranges, at, &functions, Method::Linear);
            let pairs = lower.chunks(2).map(|p| [p[0], -p[1]]);
            pairs.collect::<Vec<[f64; 2]>>()
        });
        parts.collect::<Vec<_>>().concat()
    }
}

impl Operation {
    /// The only value that an activation reads.
    fn only_input(&self) -> usize {
        self.inputs()[0]
    }
}
