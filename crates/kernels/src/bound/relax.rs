//! Activations over an interval: the interval of their values, and a line below and above them.

use crate::epilogue::Clamp;
use crate::kernel::{Function, Stage};
use crate::operation::Operation;

use super::Program;

/// How far `f32` takes the value of a smooth function from the exact one, as a share of `1 + |x|`: sixteen times the
/// rounding of the longest of them.
const SMOOTH: f64 = 4e-6;
/// The same for one product.
const ONCE: f64 = 1.0 / (1u64 << 22) as f64;
/// Rounding in `f64` of a line through two points.
const SHARE: f64 = 1.0 / (1u64 << 44) as f64;

/// `slope * x + constant`, with `x` feature `of.1` of value `of.0`; without one, the constant.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line {
    pub(super) of: Option<(usize, usize)>,
    pub(super) slope: f64,
    pub(super) constant: f64,
}

/// A line below a value, and one above.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lines {
    pub(super) below: Line,
    pub(super) above: Line,
}

impl Lines {
    pub(super) fn constant(low: f64, high: f64) -> Self {
        let flat = |constant| Line {
            of: None,
            slope: 0.0,
            constant,
        };
        Self {
            below: flat(low),
            above: flat(high),
        }
    }
}

impl Program {
    /// Whether an operation that is no sum has bounds.
    pub(super) fn is_relaxed(&self, at: usize) -> bool {
        match &self.net.operations[at] {
            Operation::Clamp(..) | Operation::Largest(..) | Operation::Multiply(..) => true,
            Operation::Pointwise(_, stages) => matches!(**stages, [Stage::Apply(_)]),
            _ => false,
        }
    }
}

/// Whether better bounds of a value may enclose the operation that reads it more closely.
pub(super) fn is_open(reader: &Operation, low: f64, high: f64) -> bool {
    let across = |kink: f64| low < kink && kink < high;
    match reader {
        Operation::Clamp(_, Clamp::Leaky { .. }) => across(0.0),
        Operation::Clamp(_, Clamp::Clip { low, high }) => {
            across(f64::from(*low)) || across(f64::from(*high))
        }
        Operation::Pointwise(..) | Operation::Largest(..) | Operation::Multiply(..) => low < high,
        _ => false,
    }
}

/// The product of two intervals, rounded once.
pub(super) fn product(a: [f64; 2], b: [f64; 2]) -> [f64; 2] {
    let corners = [a[0] * b[0], a[0] * b[1], a[1] * b[0], a[1] * b[1]];
    let low = corners.into_iter().fold(f64::INFINITY, f64::min);
    let high = corners.into_iter().fold(f64::NEG_INFINITY, f64::max);
    let slack = ONCE * low.abs().max(high.abs()) + super::sums::TINY;
    [low - slack, high + slack]
}

/// The values of an activation over an interval.
pub(super) fn image(operation: &Operation, low: f64, high: f64) -> [f64; 2] {
    let f = Shape::of(operation);
    let slack = f.error(low, high);
    let (a, b) = (f.at(low), f.at(high));
    let mut ends = [a.min(b), a.max(b)];
    for turn in f.turns() {
        if low < turn && turn < high {
            ends = [ends[0].min(f.at(turn)), ends[1].max(f.at(turn))];
        }
    }
    [ends[0] - slack, ends[1] + slack]
}

/// The lines around an activation of feature `of` over an interval.
pub(super) fn lines(operation: &Operation, of: (usize, usize), low: f64, high: f64) -> Lines {
    let f = Shape::of(operation);
    let [least, most] = image(operation, low, high);
    let constant = Lines::constant(least, most);
    if !(high - low).is_normal() || high - low < 1e-12 {
        return constant;
    }
    let Some([below, above]) = f.slopes(low, high) else {
        return constant;
    };
    // The constant of a line is where it touches: an extreme of `f(x) - slope x`, which lies at an end or a kink.
    let touching = |slope: f64, pick: fn(f64, f64) -> f64, sign: f64| {
        let points = f.kinks().into_iter().filter(|k| low < *k && *k < high);
        let gap = points.chain([low, high]).map(|x| f.at(x) - slope * x);
        let touch = gap.reduce(pick).expect("an interval has ends");
        let size = (slope * low).abs().max((slope * high).abs()) + least.abs().max(most.abs());
        Line {
            of: Some(of),
            slope,
            constant: touch + sign * (f.error(low, high) + SHARE * size),
        }
    };
    Lines {
        below: touching(below, f64::min, -1.0),
        above: touching(above, f64::max, 1.0),
    }
}

/// The lines around the largest of some features of value `x`; `most` is the upper end of its interval.
pub(super) fn largest(x: usize, window: &[usize], low: &[f64], high: &[f64], most: f64) -> Lines {
    let Some(best) = window
        .iter()
        .copied()
        .max_by(|a, b| low[*a].total_cmp(&low[*b]))
    else {
        return Lines::constant(f64::NEG_INFINITY, most);
    };
    let own = Line {
        of: Some((x, best)),
        slope: 1.0,
        constant: 0.0,
    };
    let wins = window.iter().all(|i| *i == best || high[*i] <= low[best]);
    Lines {
        below: own,
        above: if wins {
            own
        } else {
            Lines::constant(0.0, most).above
        },
    }
}

/// An activation of one number.
#[derive(Debug, Clone, Copy)]
enum Shape {
    Clamp(Clamp),
    Smooth(Function),
}

impl Shape {
    fn of(operation: &Operation) -> Self {
        match operation {
            Operation::Clamp(_, clamp) => Self::Clamp(*clamp),
            Operation::Pointwise(_, stages) => match **stages {
                [Stage::Apply(function)] => Self::Smooth(function),
                _ => unreachable!("functions in a row are put together later"),
            },
            other => unreachable!("{} is no activation", other.name()),
        }
    }

    /// How far the computed value may be from [`Shape::at`].
    fn error(self, low: f64, high: f64) -> f64 {
        let most = low.abs().max(high.abs());
        match self {
            Self::Clamp(Clamp::Leaky { slope }) if slope != 0.0 && slope != 1.0 => {
                ONCE * most * f64::from(slope).abs() + super::sums::TINY
            }
            Self::Clamp(_) | Self::Smooth(Function::Step(_)) => 0.0,
            Self::Smooth(Function::Sigmoid | Function::Tanh | Function::Erf) => SMOOTH,
            Self::Smooth(Function::Elu { alpha }) => SMOOTH * f64::from(alpha).abs(),
            Self::Smooth(Function::HardSigmoid { alpha, beta }) => {
                let (alpha, beta) = (f64::from(alpha).abs(), f64::from(beta).abs());
                SMOOTH * (1.0 + alpha * most + beta)
            }
            Self::Smooth(Function::Bend(step)) => {
                SMOOTH * (f64::from(step.below).abs() + f64::from(step.above).abs())
            }
            Self::Smooth(_) => SMOOTH * (1.0 + most),
        }
    }

    /// The exact value.
    fn at(self, x: f64) -> f64 {
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        let hard = |alpha: f64, beta: f64| (alpha * x + beta).clamp(0.0, 1.0);
        match self {
            Self::Clamp(Clamp::Leaky { slope }) => {
                if x > 0.0 {
                    x
                } else {
                    f64::from(slope) * x
                }
            }
            Self::Clamp(Clamp::Clip { low, high }) => x.max(f64::from(low)).min(f64::from(high)),
            Self::Smooth(function) => match function {
                Function::Sigmoid => sigmoid(x),
                Function::Tanh => x.tanh(),
                Function::Silu => x * sigmoid(x),
                Function::Elu { alpha } => {
                    if x > 0.0 {
                        x
                    } else {
                        f64::from(alpha) * x.exp_m1()
                    }
                }
                Function::HardSigmoid { alpha, beta } => hard(f64::from(alpha), f64::from(beta)),
                Function::HardSwish => x * hard(1.0 / 6.0, 0.5),
                Function::Erf => erf(x),
                Function::Gelu => 0.5 * x * (1.0 + erf(x / std::f64::consts::SQRT_2)),
                Function::Step(step) => {
                    let at = f64::from(step.at);
                    f64::from(if x < at {
                        step.below
                    } else if x > at {
                        step.above
                    } else {
                        step.on
                    })
                }
                Function::Bend(step) => {
                    let [below, above] = [step.below, step.above].map(f64::from);
                    let t = (x - f64::from(step.at)) / f64::from(step.width);
                    f64::midpoint(below, above) + (above - below) / 2.0 * t / (1.0 + t.abs())
                }
            },
        }
    }

    /// Where it turns from falling to rising or back.
    fn turns(self) -> Vec<f64> {
        match self {
            Self::Clamp(_) => self.kinks(),
            Self::Smooth(Function::Silu) => vec![-1.278_464_542_761_074],
            Self::Smooth(Function::Gelu) => vec![-0.751_791_524_693_564_5],
            Self::Smooth(Function::HardSwish) => vec![-3.0, -1.5, 3.0],
            Self::Smooth(Function::Elu { .. }) => vec![0.0],
            // The value on the threshold may be any.
            Self::Smooth(Function::Step(step)) => vec![f64::from(step.at)],
            Self::Smooth(
                Function::Sigmoid
                | Function::Tanh
                | Function::Erf
                | Function::HardSigmoid { .. }
                | Function::Bend(_),
            ) => Vec::new(),
        }
    }

    /// Where a function that is linear in pieces changes its slope.
    fn kinks(self) -> Vec<f64> {
        match self {
            Self::Clamp(Clamp::Leaky { .. }) => vec![0.0],
            Self::Clamp(Clamp::Clip { low, high }) => vec![f64::from(low), f64::from(high)],
            Self::Smooth(_) => Vec::new(),
        }
    }

    /// The slopes of the lines below and above over an interval; none where constants are taken.
    fn slopes(self, low: f64, high: f64) -> Option<[f64; 2]> {
        let chord = (self.at(high) - self.at(low)) / (high - low);
        match self {
            Self::Clamp(Clamp::Leaky { slope }) => {
                let slope = f64::from(slope);
                if low >= 0.0 || high <= 0.0 {
                    return Some([chord, chord]);
                }
                // The side that takes more of the interval.
                let tangent = if high > -low { 1.0 } else { slope };
                Some(if slope <= 1.0 {
                    [tangent, chord]
                } else {
                    [chord, tangent]
                })
            }
            Self::Clamp(Clamp::Clip { low: l, high: h }) => {
                let (l, h) = (f64::from(l), f64::from(h));
                if l > h {
                    return None;
                }
                let (floor, ceiling) = (low < l, high > h);
                match (floor, ceiling) {
                    (false, false) => Some([1.0, 1.0]),
                    _ if high <= l || low >= h => None,
                    (true, false) => Some([f64::from(u8::from(high - l > l - low)), chord]),
                    (false, true) => Some([chord, f64::from(u8::from(h - low > high - h))]),
                    (true, true) => Some([(h - l) / (high - l), (h - l) / (h - low)]),
                }
            }
            // Between its ends the slope of an S is at least the smaller one at an end: minus a line of that slope it
            // rises, so that the line touches at an end.
            Self::Smooth(function) => {
                let slope = match function {
                    Function::Sigmoid => |x: f64| {
                        let s = 1.0 / (1.0 + (-x).exp());
                        s * (1.0 - s)
                    },
                    Function::Tanh => |x: f64| 1.0 - x.tanh().powi(2),
                    _ => return None,
                };
                // A little less, for its own rounding.
                let least = (slope(low).min(slope(high)) * (1.0 - 1e-6)).max(0.0);
                Some([least, least])
            }
        }
    }
}

/// The error function within 2e-7: Abramowitz and Stegun, 7.1.26.
fn erf(x: f64) -> f64 {
    const POLYNOMIAL: [f64; 5] = [
        1.061_405_429,
        -1.453_152_027,
        1.421_413_741,
        -0.284_496_736,
        0.254_829_592,
    ];
    let t = 1.0 / (1.0 + 0.327_591_1 * x.abs());
    let p = POLYNOMIAL.into_iter().fold(0.0, |p, c| p * t + c) * t;
    (1.0 - p * (-x * x).exp()).copysign(x)
}
