//! Exact distances to the decision boundary of a linear classifier, inside a box.
//!
//! **Idea.** A linear model is the one classifier whose robustness is known in closed form, so an attack can be checked
//! against it: at 1.01 × this distance the attack must break the row, at 0.99 × it cannot.
//!
//! **Maths.** With `d = x - x0`, the row is broken as soon as `w·d` reaches the margin. The best `d` moves every
//! feature in the direction of its weight, so only the size `|w|` and the room `c` (how far the box lets the feature
//! move in that direction) matter. Along the optimal frontier of norm against gain, the features reach the end of their
//! room in a fixed order:
//!
//! | norm | best `d` | order | frontier between two fillings |
//! |---|---|---|---|
//! | `Linf` | `min(t, c)` | by `c` | linear, slope `Σ` of the free `abs(w)` |
//! | `L2` | `min(tau·abs(w), c)` | by `c/abs(w)` | `gain = G + sqrt((r² - S)·W)`: `S`, `G` of the full, `W = Σ w²` of the free |
//! | `L1` | one at a time | by `abs(w)`, largest first | linear, slope `abs(w)` |
//! | `L0` | whole features | by `abs(w)·c`, largest first | a step |
//!
//! For the product of several modalities the gain at gauge `t` is the sum of the parts' gains at the budgets that `t`
//! allows. It grows with `t`, so bisection finds the joint distance.
//!
//! **Reference.** Hein and Andriushchenko, *Formal guarantees on the robustness of a classifier against adversarial
//! manipulation* (`NeurIPS` 2017), for the box-constrained linear problem; Dantzig's greedy for `L1`.

use proofmark_domain::Norm;

/// One modality of a row: its weights (`w_other - w_true`), origin, box, norm and scale in the joint gauge.
#[derive(Debug, Clone, Copy)]
pub struct JointPart<'a> {
    /// Norm of its budget.
    pub norm: Norm,
    /// Weight of each feature in `score(other) - score(true)`.
    pub w: &'a [f64],
    /// Clean sample.
    pub x0: &'a [f32],
    /// Lower bounds of the box.
    pub low: &'a [f32],
    /// Upper bounds of the box.
    pub high: &'a [f32],
    /// Budget at gauge 1; zero freezes the part.
    pub eps: f64,
}

/// How the parts of a product share their budget.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum JointCoupling {
    /// Each part has its own budget: the gauge is the largest of `norm_i / eps_i`.
    Independent,
    /// All parts share one budget: the gauge is `(Σ (norm_i / eps_i)^q)^(1/q)`, `q >= 1`.
    Shared {
        /// The exponent.
        q: f64,
    },
}

/// Returns the smallest `norm(x - x0)` with `x` in `[low, high]` and `w·(x - x0) >= margin`; `None` if the box forbids
/// it.
///
/// `w` is `w_other - w_true` and `margin` the lead of the true class at `x0`; a margin of zero or below gives
/// distance 0.
pub fn linear_distance(
    norm: Norm,
    w: &[f64],
    margin: f64,
    x0: &[f32],
    low: &[f32],
    high: &[f32],
) -> Option<f64> {
    Frontier::new(norm, w, x0, low, high).distance(margin)
}

/// Returns the largest `w·(x - x0)` with `norm(x - x0) <= eps` and `x` in `[low, high]`.
pub fn linear_gain(norm: Norm, w: &[f64], x0: &[f32], low: &[f32], high: &[f32], eps: f64) -> f64 {
    Frontier::new(norm, w, x0, low, high).gain(eps)
}

/// Returns the smallest gauge at which the product ball, within the box, reaches the margin; `None` if no gauge does.
///
/// Exact to about `1e-12` for independent budgets and `1e-9` for a shared one.
///
/// When an `L0` part shares its budget: its gain is not concave, and no attack can project on such a ball.
pub fn joint_distance(
    parts: &[JointPart<'_>],
    margin: f64,
    coupling: JointCoupling,
) -> Option<f64> {
    let frontiers: Vec<(Frontier, f64)> = parts
        .iter()
        .filter(|p| p.eps > 0.0)
        .map(|p| (Frontier::new(p.norm, p.w, p.x0, p.low, p.high), p.eps))
        .collect();
    if let JointCoupling::Shared { .. } = coupling {
        assert!(
            parts.iter().all(|p| p.norm != Norm::L0),
            "an l0 budget cannot be shared"
        );
    }
    if margin <= 0.0 {
        return Some(0.0);
    }
    if frontiers.iter().map(|(f, _)| f.most()).sum::<f64>() < margin {
        return None;
    }
    let gain = |t: f64| match coupling {
        JointCoupling::Independent => frontiers.iter().map(|(f, eps)| f.gain(t * eps)).sum(),
        JointCoupling::Shared { q } => shared_gain(&frontiers, t, q),
    };
    // The gauge at which every part reaches the end of its box.
    let corners = frontiers
        .iter()
        .map(|(f, eps)| f.knots.last().map_or(0.0, |k| k.radius) / eps);
    let corner: f64 = match coupling {
        JointCoupling::Independent => corners.fold(0.0, f64::max),
        JointCoupling::Shared { q } => corners.map(|t| t.powf(q)).sum::<f64>().powf(1.0 / q),
    };
    let mut hi = 1.0;
    while gain(hi) < margin {
        // The last corner may miss the margin by rounding.
        if hi > corner {
            return Some(corner);
        }
        hi *= 2.0;
    }
    let mut lo = 0.0;
    for _ in 0..200 {
        let mid = f64::midpoint(lo, hi);
        if mid <= lo || mid >= hi {
            break;
        }
        if gain(mid) >= margin {
            hi = mid;
        } else {
            lo = mid;
        }
    }
    Some(hi)
}

/// Returns the largest summed gain over all splits `(Σ s_i^q)^(1/q) <= t` of a shared budget.
///
/// The first part's share against the rest is a concave problem in one variable, solved by golden section over the
/// direction, which keeps both ends precise; the rest is split the same way.
fn shared_gain(frontiers: &[(Frontier, f64)], t: f64, q: f64) -> f64 {
    let Some(((first, eps), rest)) = frontiers.split_first() else {
        return 0.0;
    };
    if rest.is_empty() {
        return first.gain(t * eps);
    }
    let at = |p: f64| {
        let length = (p.powf(q) + (1.0 - p).powf(q)).powf(1.0 / q);
        first.gain(t * p / length * eps) + shared_gain(rest, t * (1.0 - p) / length, q)
    };
    let ratio = (5.0_f64.sqrt() - 1.0) / 2.0;
    let (mut lo, mut hi) = (0.0, 1.0);
    let (mut a, mut b) = (hi - ratio * (hi - lo), lo + ratio * (hi - lo));
    let (mut at_a, mut at_b) = (at(a), at(b));
    for _ in 0..70 {
        if at_a < at_b {
            (lo, a, at_a) = (a, b, at_b);
            b = lo + ratio * (hi - lo);
            at_b = at(b);
        } else {
            (hi, b, at_b) = (b, a, at_a);
            a = hi - ratio * (hi - lo);
            at_a = at(a);
        }
    }
    // 70 sections leave 2e-15 of the width, so corners (the whole budget for one part) are reached as well.
    at_a.max(at_b)
}

/// The largest gain as a function of the norm spent, given the box and `w`.
struct Frontier {
    norm: Norm,
    /// Points at which one more feature is full, in increasing radius; the first is the origin.
    knots: Vec<Knot>,
}

/// A point of the frontier and its continuation up to the next point.
#[derive(Clone, Copy)]
struct Knot {
    radius: f64,
    gain: f64,
    /// `Linf`, `L1`: slope. `L2`: `Σ w²` of the free features.
    free: f64,
    /// `L2`: `Σ c²` and `Σ abs(w)·c` of the full features.
    full: (f64, f64),
}

impl Frontier {
    fn new(norm: Norm, w: &[f64], x0: &[f32], low: &[f32], high: &[f32]) -> Self {
        let n = w.len();
        assert!(
            x0.len() == n && low.len() == n && high.len() == n,
            "weights, origin and box have the same features"
        );
        let mut features: Vec<(f64, f64)> = (0..n)
            .map(|i| {
                let end = if w[i] > 0.0 { high[i] } else { low[i] };
                (w[i].abs(), (f64::from(end) - f64::from(x0[i])).abs())
            })
            .filter(|&(w, c)| w > 0.0 && c > 0.0)
            .collect();
        // Sort features by the order in which they fill their room.
        let key = |&(w, c): &(f64, f64)| match norm {
            Norm::Linf => c,
            Norm::L2 => c / w,
            Norm::L1 => -w,
            Norm::L0 => -(w * c),
        };
        features.sort_by(|a, b| key(a).total_cmp(&key(b)));
        let mut knot = Knot {
            radius: 0.0,
            gain: 0.0,
            free: 0.0,
            full: (0.0, 0.0),
        };
        let mut knots = vec![knot];
        for &(w, c) in &features {
            knot.full = (knot.full.0 + c * c, knot.full.1 + w * c);
            knots.push(knot);
        }
        // Sum over the free features from the back, where the sums are exact.
        for i in (0..features.len()).rev() {
            let w = features[i].0;
            knots[i].free = match norm {
                Norm::Linf => knots[i + 1].free + w,
                Norm::L2 => knots[i + 1].free + w * w,
                Norm::L1 | Norm::L0 => w,
            };
        }
        for i in 1..knots.len() {
            let (w, c) = features[i - 1];
            let before = knots[i - 1];
            let k = &mut knots[i];
            (k.radius, k.gain) = match norm {
                Norm::Linf => (c, before.gain + before.free * (c - before.radius)),
                Norm::L2 => {
                    let tau = c / w;
                    (
                        (k.full.0 + tau * tau * k.free).sqrt(),
                        k.full.1 + tau * k.free,
                    )
                }
                Norm::L1 => (before.radius + c, k.full.1),
                Norm::L0 => (before.radius + 1.0, k.full.1),
            };
        }
        Self { norm, knots }
    }

    /// Returns the gain of the whole box.
    fn most(&self) -> f64 {
        self.knots.last().map_or(0.0, |k| k.gain)
    }

    fn gain(&self, radius: f64) -> f64 {
        if radius.is_nan() || radius <= 0.0 {
            return 0.0;
        }
        let next = self.knots.partition_point(|k| k.radius <= radius);
        let k = self.knots[next - 1];
        // Beyond the last knot the box is full.
        if next == self.knots.len() {
            return k.gain;
        }
        match self.norm {
            Norm::Linf | Norm::L1 => k.gain + k.free * (radius - k.radius),
            Norm::L2 => k.full.1 + ((radius * radius - k.full.0).max(0.0) * k.free).sqrt(),
            Norm::L0 => k.gain,
        }
    }

    fn distance(&self, margin: f64) -> Option<f64> {
        if margin <= 0.0 {
            return Some(0.0);
        }
        let next = self.knots.partition_point(|k| k.gain < margin);
        let reached = self.knots.get(next)?;
        let k = self.knots[next - 1];
        let radius = match self.norm {
            Norm::Linf | Norm::L1 => k.radius + (margin - k.gain) / k.free,
            Norm::L2 => (k.full.0 + (margin - k.full.1).max(0.0).powi(2) / k.free).sqrt(),
            Norm::L0 => reached.radius,
        };
        Some(radius.min(reached.radius))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONVEX: [Norm; 3] = [Norm::Linf, Norm::L2, Norm::L1];

    /// Returns a small fixed generator: uniform in [0, 1).
    fn generator(seed: u64) -> impl FnMut() -> f64 {
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        move || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 11) as f64 / (1_u64 << 53) as f64
        }
    }

    struct Row {
        w: Vec<f64>,
        x0: Vec<f32>,
        low: Vec<f32>,
        high: Vec<f32>,
    }

    impl Row {
        /// Makes a random row; some features have no room, some no weight, some tie.
        fn random(seed: u64, n: usize) -> Self {
            let mut u = generator(seed);
            let x0: Vec<f32> = (0..n).map(|_| u() as f32).collect();
            let w = (0..n).map(|_| match (u() * 6.0) as u8 {
                0 => 0.0,
                1 => 0.5,
                _ => u() * 2.0 - 1.0,
            });
            let w = w.collect();
            let low = x0
                .iter()
                .map(|x| if u() < 0.15 { *x } else { x * u() as f32 })
                .collect();
            let high = x0
                .iter()
                .map(|x| {
                    if u() < 0.15 {
                        *x
                    } else {
                        x + (1.0 - x) * u() as f32
                    }
                })
                .collect();
            Self { w, x0, low, high }
        }

        fn room(&self, i: usize) -> f64 {
            let end = if self.w[i] > 0.0 {
                self.high[i]
            } else {
                self.low[i]
            };
            (f64::from(end) - f64::from(self.x0[i])).abs()
        }

        fn total(&self) -> f64 {
            (0..self.w.len())
                .map(|i| self.w[i].abs() * self.room(i))
                .sum()
        }

        fn gain(&self, norm: Norm, eps: f64) -> f64 {
            linear_gain(norm, &self.w, &self.x0, &self.low, &self.high, eps)
        }

        fn distance(&self, norm: Norm, margin: f64) -> Option<f64> {
            linear_distance(norm, &self.w, margin, &self.x0, &self.low, &self.high)
        }

        fn part(&self, norm: Norm, eps: f64) -> JointPart<'_> {
            JointPart {
                norm,
                w: &self.w,
                x0: &self.x0,
                low: &self.low,
                high: &self.high,
                eps,
            }
        }

        /// Computes the gain by Lagrange duality (`L2`, `L1`), evaluation (`Linf`) or trying every subset (`L0`).
        fn slow_gain(&self, norm: Norm, eps: f64) -> f64 {
            let n = self.w.len();
            let sum = |f: &dyn Fn(f64, f64) -> f64| {
                (0..n)
                    .map(|i| f(self.w[i].abs(), self.room(i)))
                    .sum::<f64>()
            };
            match norm {
                Norm::Linf => sum(&|w, c| w * c.min(eps)),
                // min over m of m·eps²/2 + Σ max over d of (w·d - m·d²/2): convex in ln m.
                Norm::L2 => minimum(-40.0, 40.0, |log| {
                    let m = log.exp();
                    m * eps * eps / 2.0
                        + sum(&|w, c| {
                            let d = (w / m).min(c);
                            w * d - m * d * d / 2.0
                        })
                }),
                // min over m of m·eps + Σ c·max(w - m, 0): piecewise linear, the minimum is at a weight or at 0.
                Norm::L1 => self
                    .w
                    .iter()
                    .map(|m| m.abs())
                    .chain([0.0])
                    .map(|m| m * eps + sum(&|w, c| c * (w - m).max(0.0)))
                    .fold(f64::INFINITY, f64::min),
                Norm::L0 => (0_u32..1 << n)
                    .filter(|s| f64::from(s.count_ones()) <= eps)
                    .map(|s| {
                        (0..n)
                            .filter(|i| s >> i & 1 == 1)
                            .map(|i| self.w[i].abs() * self.room(i))
                            .sum()
                    })
                    .fold(0.0, f64::max),
            }
        }
    }

    /// Returns the minimum of a unimodal function by ternary search.
    fn minimum(mut lo: f64, mut hi: f64, f: impl Fn(f64) -> f64) -> f64 {
        for _ in 0..200 {
            let (a, b) = (lo + (hi - lo) / 3.0, hi - (hi - lo) / 3.0);
            if f(a) < f(b) { hi = b } else { lo = a }
        }
        f(f64::midpoint(lo, hi))
    }

    fn assert_close(a: f64, b: f64, tolerance: f64) {
        assert!(
            (a - b).abs() <= tolerance * b.abs().max(1e-3),
            "{a}, not {b}"
        );
    }

    #[test]
    fn hand_computed() {
        let (x0, low, high) = ([0.5; 3], [0.0; 3], [1.0; 3]);
        let of = |norm, margin| linear_distance(norm, &[1.0, -2.0, 0.0], margin, &x0, &low, &high);
        // Inside the box: margin / dual norm.
        assert_eq!(of(Norm::Linf, 0.75), Some(0.25));
        assert_close(of(Norm::L2, 0.5).unwrap(), 0.5 / 5.0_f64.sqrt(), 1e-15);
        assert_eq!(of(Norm::L1, 0.5), Some(0.25));
        assert_eq!(of(Norm::L0, 0.5), Some(1.0));
        // 1.25 needs more than the second feature's 2·0.5: the box limits it.
        assert_close(of(Norm::Linf, 1.25).unwrap(), 1.25 / 3.0, 1e-15);
        assert_close(
            of(Norm::L2, 1.25).unwrap(),
            (0.25_f64 + 0.0625).sqrt(),
            1e-15,
        );
        assert_eq!(of(Norm::L1, 1.25), Some(0.75));
        assert_eq!(of(Norm::L0, 1.25), Some(2.0));
        for norm in Norm::ALL {
            assert_eq!(of(norm, 0.0), Some(0.0), "{norm}");
            assert_eq!(of(norm, -1.0), Some(0.0), "{norm}");
            // The whole box gains 1.5.
            assert!(of(norm, 1.5).is_some(), "{norm}");
            assert_eq!(of(norm, 1.5001), None, "{norm}");
        }
    }

    #[test]
    fn infinite_boxes_give_the_dual_norm() {
        let (w, x0) = ([3.0, -4.0], [0.0; 2]);
        let (low, high) = ([f32::NEG_INFINITY; 2], [f32::INFINITY; 2]);
        let of = |norm| linear_distance(norm, &w, 7.0, &x0, &low, &high).unwrap();
        for (norm, want) in [
            (Norm::Linf, 1.0),
            (Norm::L2, 1.4),
            (Norm::L1, 1.75),
            (Norm::L0, 1.0),
        ] {
            assert_close(of(norm), want, 1e-15);
        }
    }

    #[test]
    fn gains_match_the_slow_reference() {
        for seed in 0..200 {
            let row = Row::random(seed, 1 + seed as usize % 7);
            for norm in Norm::ALL {
                for eps in [0.0, 0.01, 0.1, 0.3, 0.9, 1.0, 2.0, 3.7, 50.0] {
                    assert_close(row.gain(norm, eps), row.slow_gain(norm, eps), 1e-9);
                }
            }
        }
    }

    #[test]
    fn distances_are_where_the_gain_first_reaches_the_margin() {
        for seed in 0..200 {
            let row = Row::random(seed, 1 + seed as usize % 7);
            for norm in Norm::ALL {
                for share in [0.01, 0.3, 0.7, 0.999] {
                    let margin = share * row.total();
                    let Some(far) = row.distance(norm, margin) else {
                        panic!("the box allows {margin}");
                    };
                    if norm == Norm::L0 {
                        assert!(row.slow_gain(norm, far) >= margin * (1.0 - 1e-12));
                        assert!(far == 0.0 || row.slow_gain(norm, far - 1.0) < margin);
                    } else {
                        assert_close(row.slow_gain(norm, far), margin, 1e-9);
                    }
                }
                assert_eq!(row.distance(norm, row.total() * 1.001 + 1e-9), None);
            }
        }
    }

    #[test]
    fn a_joint_ball_of_one_part_is_its_ball_in_units_of_eps() {
        for seed in 0..50 {
            let row = Row::random(seed, 5);
            let margin = 0.6 * row.total();
            for norm in CONVEX {
                let plain = row.distance(norm, margin).unwrap();
                for coupling in [JointCoupling::Independent, JointCoupling::Shared { q: 2.0 }] {
                    let joint = joint_distance(&[row.part(norm, 0.25)], margin, coupling).unwrap();
                    assert_close(joint, plain / 0.25, 1e-12);
                }
            }
        }
    }

    #[test]
    fn independent_budgets_add_their_gains() {
        for seed in 0..60 {
            let (a, b) = (Row::random(seed, 4), Row::random(seed + 1000, 6));
            let margin = 0.5 * (a.total() + b.total());
            for norms in [
                [Norm::Linf, Norm::L2],
                [Norm::L1, Norm::L0],
                [Norm::L2, Norm::L2],
            ] {
                let parts = [a.part(norms[0], 0.1), b.part(norms[1], 1.5)];
                let t = joint_distance(&parts, margin, JointCoupling::Independent).unwrap();
                let gain = |t: f64| a.slow_gain(norms[0], 0.1 * t) + b.slow_gain(norms[1], 1.5 * t);
                // A step of an L0 part may jump over the margin.
                assert!(gain(t * (1.0 + 1e-9)) >= margin * (1.0 - 1e-9), "{norms:?}");
                assert!(gain(t * (1.0 - 1e-9)) <= margin * (1.0 + 1e-9), "{norms:?}");
            }
        }
    }

    #[test]
    fn equal_parts_that_share_their_own_norm_form_one_ball() {
        // q = 2 of L2 parts is L2 of the whole, q = 1 of L1 parts is L1.
        for seed in 0..50 {
            let whole = Row::random(seed, 8);
            let cut = |r: std::ops::Range<usize>| Row {
                w: whole.w[r.clone()].to_vec(),
                x0: whole.x0[r.clone()].to_vec(),
                low: whole.low[r.clone()].to_vec(),
                high: whole.high[r].to_vec(),
            };
            let (a, b) = (cut(0..3), cut(3..8));
            let margin = 0.4 * whole.total();
            for (norm, q) in [(Norm::L2, 2.0), (Norm::L1, 1.0)] {
                let parts = [a.part(norm, 0.5), b.part(norm, 0.5)];
                let joint = joint_distance(&parts, margin, JointCoupling::Shared { q }).unwrap();
                assert_close(joint, whole.distance(norm, margin).unwrap() / 0.5, 1e-9);
            }
        }
    }

    #[test]
    fn a_grid_of_splits_of_a_shared_budget_gains_no_more() {
        for seed in 0..12 {
            let (a, b) = (Row::random(seed, 3), Row::random(seed + 500, 4));
            let margin = 0.5 * (a.total() + b.total());
            for (norms, q) in [
                ([Norm::Linf, Norm::L2], 1.0),
                ([Norm::L1, Norm::Linf], 2.0),
                ([Norm::L2, Norm::L1], 3.5),
            ] {
                let parts = [a.part(norms[0], 0.1), b.part(norms[1], 0.7)];
                let t = joint_distance(&parts, margin, JointCoupling::Shared { q }).unwrap();
                let best = (0..=2000_u32)
                    .map(|k| f64::from(k) / 2000.0)
                    .map(|s| {
                        let rest = (1.0 - s.powf(q)).max(0.0).powf(1.0 / q);
                        a.gain(norms[0], 0.1 * t * s) + b.gain(norms[1], 0.7 * t * rest)
                    })
                    .fold(0.0, f64::max);
                assert!(
                    best <= margin * (1.0 + 1e-9),
                    "{norms:?} q {q}: {best} at the distance, margin {margin}"
                );
                assert!(
                    best >= margin * (1.0 - 2e-3),
                    "{norms:?} q {q}: {best} at the distance, margin {margin}"
                );
            }
        }
    }

    #[test]
    fn three_parts_share_a_budget() {
        let row = Row {
            w: vec![1.0],
            x0: vec![0.0],
            low: vec![-9.0],
            high: vec![9.0],
        };
        // Gains 1·s: with q = 2 the best of Σ s over |s|₂ <= t is t·sqrt(3).
        let parts = [
            row.part(Norm::Linf, 1.0),
            row.part(Norm::L2, 1.0),
            row.part(Norm::L1, 1.0),
        ];
        let t = joint_distance(&parts, 3.0, JointCoupling::Shared { q: 2.0 }).unwrap();
        assert_close(t, 3.0_f64.sqrt(), 1e-9);
        let t = joint_distance(&parts, 3.0, JointCoupling::Independent).unwrap();
        assert_close(t, 1.0, 1e-12);
    }

    #[test]
    fn l0_gains_in_steps_however_small_its_scale() {
        let row = Row {
            w: vec![1.0, -2.0],
            x0: vec![0.5; 2],
            low: vec![0.0; 2],
            high: vec![1.0; 2],
        };
        let of = |margin| {
            joint_distance(
                &[row.part(Norm::L0, 0.1)],
                margin,
                JointCoupling::Independent,
            )
            .unwrap()
        };
        assert_close(of(0.9), 10.0, 1e-12);
        assert_close(of(1.1), 20.0, 1e-12);
    }

    #[test]
    fn frozen_parts_and_unreachable_margins() {
        let row = Row {
            w: vec![1.0, -2.0],
            x0: vec![0.5; 2],
            low: vec![0.0; 2],
            high: vec![1.0; 2],
        };
        let parts = [row.part(Norm::Linf, 0.0), row.part(Norm::L2, 1.0)];
        for coupling in [JointCoupling::Independent, JointCoupling::Shared { q: 2.0 }] {
            let alone = row.distance(Norm::L2, 1.25).unwrap();
            assert_close(
                joint_distance(&parts, 1.25, coupling).unwrap(),
                alone,
                1e-12,
            );
            assert_eq!(joint_distance(&parts, 1.6, coupling), None);
            assert_eq!(joint_distance(&parts, 0.0, coupling), Some(0.0));
            assert_eq!(joint_distance(&[], 0.1, coupling), None);
            // Up to the last corner of the box.
            assert_close(
                joint_distance(&parts, 1.5, coupling).unwrap(),
                0.5_f64.sqrt(),
                1e-7,
            );
        }
    }
}
