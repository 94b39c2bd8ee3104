//! The shortest step inside the box that changes a linear function by a given amount: the projection of a point on
//! hyperplane ∩ box, measured in the norm of the budget instead of the Euclidean one.
//!
//! **Maths.** With slopes `s = |g|` and rooms `c` towards the bounds that the change points at, minimise `‖d‖` over
//! `0 <= d <= c`, `Σ s d = gain`. The KKT conditions give one number per norm:
//!
//! | norm | shortest `d` | number |
//! |---|---|---|
//! | `Linf` | `min(t, c)` | `t` with `Σ s min(t, c) = gain` |
//! | `L2` | `min(mu·s, c)` | `mu` with `Σ s min(mu·s, c) = gain` |
//! | `L1` | `c` in order of slope, largest first, until the gain is reached | length of the last feature's move |
//!
//! The first two sums are concave, increasing and piecewise linear in their number. Newton's method from the left
//! increases monotonically: the set of features at their bounds only grows, and the last step solves its linear piece
//! exactly. For `L1` the smallest power of two of features that can reach the gain is selected before sorting, so the
//! expected cost of all three is linear.
//!
//! Under several independent budgets the gauge of a step is the largest `length / eps`. At gauge `t` every modality
//! takes its best step of length `t·eps`, and the sum of their gains is concave and increasing in `t`: Newton's method
//! again, with the rate at which each best step gains.
//!
//! It is the inverse of the steepest step (`Ball::ascend`): that one is given a length and gains most, this one is
//! given a gain and is shortest.
//!
//! **Reference.** Croce and Hein, *Minimally distorted adversarial examples with a fast adaptive boundary attack* (ICML
//! 2020), section 2.2 and appendix A, which sorts; Dantzig, *Discrete-variable extremum problems* (Operations Research
//! 5, 1957) for `L1`; Cominetti, Mascarenhas and Silva, *A Newton's method for the continuous quadratic knapsack
//! problem* (Math. Prog. Comp. 6, 2014).

use proofmark_domain::Norm;

use super::l2;
use super::point::{clamp, room};

/// One modality of a row, with the gradient of the linear function in it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Slope<'a> {
    pub(crate) norm: Norm,
    pub(crate) eps: f64,
    pub(crate) x: &'a [f32],
    pub(crate) gradient: &'a [f32],
    pub(crate) lower: &'a [f32],
    pub(crate) upper: &'a [f32],
}

/// The shortest step of a row.
#[derive(Debug)]
pub(crate) struct Shortest {
    /// Gauge of the step: the largest length of a modality's move, in units of its budget.
    pub(crate) gauge: f64,
    /// Whether the step makes the whole change; otherwise it ends at the corner of the box.
    pub(crate) reaches: bool,
    /// Per modality: its features in the order in which they are filled, and how far they go.
    moves: Vec<(Frontier, Extent)>,
}

impl Shortest {
    /// Returns the shortest step that changes the linear function by `change`. A modality in `L0` does not move.
    pub(crate) fn new(parts: &[Slope<'_>], change: f64) -> Self {
        let gain = change.abs();
        if gain == 0.0 || !gain.is_finite() {
            return Self {
                gauge: 0.0,
                reaches: gain == 0.0,
                moves: Vec::new(),
            };
        }
        let frontiers: Vec<Frontier> = parts.iter().map(|p| Frontier::new(p, change)).collect();
        let most: f64 = frontiers.iter().map(Frontier::most).sum();
        let mut moving = frontiers.iter().filter(|f| !f.features.is_empty());
        let extents: Vec<Extent> = if most <= gain {
            frontiers.iter().map(Frontier::corner).collect()
        } else if let (Some(_), None) = (moving.next(), moving.next()) {
            frontiers.iter().map(|f| f.with_gain(gain)).collect()
        } else {
            let gauge = joint(&frontiers, gain);
            let reach = |f: &Frontier| f.with_length(gauge * f.eps).extent;
            frontiers.iter().map(reach).collect()
        };
        let moves: Vec<(Frontier, Extent)> = frontiers.into_iter().zip(extents).collect();
        let gauge = |(f, e): &(Frontier, Extent)| {
            if e.length > 0.0 {
                e.length / f.eps
            } else {
                0.0
            }
        };
        Self {
            gauge: moves.iter().map(gauge).fold(0.0, f64::max),
            reaches: most >= gain,
            moves,
        }
    }

    /// Returns the row after the step, one vector per modality, rounded to the nearest `f32` inside the box.
    pub(crate) fn taken(&self, parts: &[Slope<'_>]) -> Vec<Vec<f32>> {
        let mut all: Vec<Vec<f32>> = parts.iter().map(|p| p.x.to_vec()).collect();
        for ((x, part), (frontier, extent)) in all.iter_mut().zip(parts).zip(&self.moves) {
            frontier.place(*extent, part, x);
        }
        all
    }
}

/// Returns the gauge at which the best steps of all modalities gain this much; less than all of them can.
fn joint(frontiers: &[Frontier], gain: f64) -> f64 {
    // Each step of Newton's method solves a linear piece or, in L2, doubles the digits.
    const STEPS: usize = 1000;
    let mut gauge = 0.0;
    for _ in 0..STEPS {
        let (mut gained, mut rate) = (0.0, 0.0);
        for f in frontiers {
            let best = f.with_length(gauge * f.eps);
            gained += best.gain;
            rate += best.rate * f.eps;
        }
        let next = gauge + (gain - gained) / rate;
        // Also false for 0/0. Rounding ends the search.
        if next > gauge && next.is_finite() {
            gauge = next;
        } else {
            break;
        }
    }
    gauge
}

/// A feature that can move: what it gains per unit, how far it can go, and whether it goes up.
#[derive(Debug, Clone, Copy)]
struct Feature {
    at: usize,
    slope: f64,
    room: f64,
    up: bool,
}

/// How far a modality goes: the length of its move, and the number that its features share (module doc).
#[derive(Debug, Clone, Copy)]
struct Extent {
    length: f64,
    number: f64,
}

/// The best step of one length.
#[derive(Debug)]
struct Best {
    extent: Extent,
    gain: f64,
    /// Gain per unit of further length.
    rate: f64,
}

/// The features of one modality that can move; in `L1` sorted by slope, and no more than reach the gain.
#[derive(Debug)]
struct Frontier {
    norm: Norm,
    eps: f64,
    features: Vec<Feature>,
}

impl Frontier {
    fn new(part: &Slope<'_>, change: f64) -> Self {
        let boxes = part.lower.iter().zip(part.upper);
        let mut features: Vec<Feature> = Vec::new();
        if part.norm != Norm::L0 && part.eps > 0.0 {
            let all = part.x.iter().zip(part.gradient).zip(boxes).enumerate();
            features.extend(all.filter_map(|(at, ((&x, &g), (&lower, &upper)))| {
                let g = if change < 0.0 { -g } else { g };
                let (slope, room) = (f64::from(g).abs(), room(x, g, lower, upper));
                let moves = slope > 0.0 && slope.is_finite() && room > 0.0;
                moves.then_some(Feature {
                    at,
                    slope,
                    room,
                    up: g > 0.0,
                })
            }));
        }
        if part.norm == Norm::L1 {
            keep_steepest(&mut features, change.abs());
        }
        Self {
            norm: part.norm,
            eps: part.eps,
            features,
        }
    }

    /// Returns the gain at the corner of the box.
    fn most(&self) -> f64 {
        self.features.iter().map(|f| f.slope * f.room).sum()
    }

    fn corner(&self) -> Extent {
        self.extent(f64::INFINITY)
    }

    /// Returns the extent for a shared number (in `L1`, a length).
    fn extent(&self, number: f64) -> Extent {
        let length = match self.norm {
            Norm::Linf => self
                .features
                .iter()
                .fold(0.0, |m: f64, f| m.max(f.room.min(number))),
            Norm::L2 => {
                let square = |f: &Feature| (number * f.slope).min(f.room).powi(2);
                self.features.iter().map(square).sum::<f64>().sqrt()
            }
            Norm::L1 | Norm::L0 => self
                .features
                .iter()
                .map(|f| f.room)
                .sum::<f64>()
                .min(number),
        };
        Extent { length, number }
    }

    /// Returns the shortest move that gains this much, which is less than the most.
    fn with_gain(&self, gain: f64) -> Extent {
        let number = match self.norm {
            Norm::Linf => self.newton(gain, |f| (f.room, f.slope)),
            Norm::L2 => self.newton(gain, |f| (f.room / f.slope, f.slope * f.slope)),
            Norm::L1 | Norm::L0 => {
                let (mut left, mut length) = (gain, 0.0);
                for f in &self.features {
                    let whole = f.slope * f.room;
                    if whole >= left {
                        length += left / f.slope;
                        break;
                    }
                    left -= whole;
                    length += f.room;
                }
                length
            }
        };
        self.extent(number)
    }

    /// Finds the number at which the gain is reached. Every feature gains at its rate until the number is at its end;
    /// `piece` returns both.
    fn newton(&self, gain: f64, piece: impl Fn(&Feature) -> (f64, f64)) -> f64 {
        let mut number = 0.0;
        loop {
            let (mut full, mut rate) = (0.0, 0.0);
            for f in &self.features {
                let (end, per_unit) = piece(f);
                if number < end {
                    rate += per_unit;
                } else {
                    full += f.slope * f.room;
                }
            }
            let next = (gain - full) / rate;
            // Also false for 0/0: once the set of full features stops growing, so does the number.
            if next > number && next.is_finite() {
                number = next;
            } else {
                return number;
            }
        }
    }

    /// Returns the best step of this length.
    fn with_length(&self, length: f64) -> Best {
        let (mut gain, mut rate) = (0.0, 0.0);
        let mut number = length;
        match self.norm {
            Norm::Linf => {
                for f in &self.features {
                    gain += f.slope * f.room.min(length);
                    rate += if f.room > length { f.slope } else { 0.0 };
                }
            }
            Norm::L2 => {
                let features = self.features.iter().map(|f| (f.slope, f.room));
                number = l2::scale(&features, length);
                let mut free = 0.0;
                for f in &self.features {
                    gain += f.slope * f.room.min(number * f.slope);
                    if number * f.slope < f.room {
                        free += f.slope * f.slope;
                    }
                }
                rate = if free == 0.0 {
                    0.0
                } else if number > 0.0 {
                    length / number
                } else {
                    free.sqrt()
                };
            }
            Norm::L1 | Norm::L0 => {
                let mut left = length;
                for f in &self.features {
                    let by = f.room.min(left);
                    gain += f.slope * by;
                    left -= by;
                    if left <= 0.0 && by < f.room {
                        rate = f.slope;
                        break;
                    }
                }
            }
        }
        Best {
            extent: self.extent(number),
            gain,
            rate,
        }
    }

    /// Moves the features of `x`.
    fn place(&self, extent: Extent, part: &Slope<'_>, x: &mut [f32]) {
        let mut left = extent.length;
        for f in &self.features {
            let by = match self.norm {
                Norm::Linf => extent.number.min(f.room),
                Norm::L2 => (extent.number * f.slope).min(f.room),
                Norm::L1 | Norm::L0 => left.min(f.room),
            };
            left -= by;
            let from = f64::from(x[f.at]);
            let to = if f.up { from + by } else { from - by } as f32;
            // Without bounds, a tiny slope may ask for more than `f32` holds.
            let to = to.clamp(f32::MIN, f32::MAX);
            x[f.at] = clamp(to, part.lower[f.at], part.upper[f.at]);
            if self.norm == Norm::L1 && left <= 0.0 {
                break;
            }
        }
    }
}

/// Keeps the steepest features, sorted: as many as can reach the gain, or all of them. Ties go to the lower feature.
fn keep_steepest(features: &mut Vec<Feature>, gain: f64) {
    let steeper = |a: &Feature, b: &Feature| b.slope.total_cmp(&a.slope).then(a.at.cmp(&b.at));
    let mut few = 1;
    while few < features.len() {
        features.select_nth_unstable_by(few - 1, steeper);
        let reached: f64 = features[..few].iter().map(|f| f.slope * f.room).sum();
        // Strictly, so that what is kept never counts as a corner of the box.
        if reached > gain {
            features.truncate(few);
            break;
        }
        few *= 2;
    }
    features.sort_unstable_by(steeper);
}

#[cfg(test)]
#[path = "plane_tests.rs"]
mod tests;
