//! One budget shared by several modalities: the projection also decides each part's share of it.
//!
//! **Maths.** Minimise `Σ D_i(s_i·eps_i)` over `Σ s_i^q <= 1`, where `D_i(r)` is half the squared distance of part `i`
//! to its ball of radius `r` within its box. `D_i` is convex with slope `-theta_i(r)` (`multiplier.rs`), so the KKT
//! conditions are `theta_i(s_i·eps_i)·eps_i = lambda·q·s_i^(q-1)` with one `lambda` for all parts. Both sides are
//! monotone in `s_i`, and `Σ s_i(lambda)^q` is monotone in `lambda`: a root search inside a root search finds the
//! shares. Each part is then projected on its own ball by the exact projection of its norm.
//!
//! The gauge `(Σ (norm_i/eps_i)^q)^(1/q)` is itself a norm on the product space; `q = 1` makes modalities compete
//! (some may get nothing), large `q` approaches independent budgets.
//!
//! **Reference.** Boyd and Vandenberghe, *Convex Optimization* (2004), section 5.5.3 (KKT) and 5.6 (the multiplier as
//! the derivative of the optimal value); Bauschke and Combettes, *Convex Analysis and Monotone Operator Theory in
//! Hilbert Spaces* (2017), section 29.5 (projection on the level set of a convex function).

use std::error::Error;
use std::fmt;

use proofmark_domain::Norm;

use super::ball;
use super::crossing::crossing;
use super::multiplier::Multiplier;
use super::point::Point;

/// One modality of a sample, with its own norm and its own scale in the shared budget.
#[derive(Debug)]
pub struct Part<'a> {
    /// Norm of this part; `L0` cannot share a budget.
    pub norm: Norm,
    /// Point, projected in place.
    pub x: &'a mut [f32],
    /// Origin.
    pub x0: &'a [f32],
    /// Lower bounds of the box, at most `x0`.
    pub lower: &'a [f32],
    /// Upper bounds of the box, at least `x0`.
    pub upper: &'a [f32],
    /// Budget of this part alone; zero freezes it.
    pub eps: f64,
}

/// Errors of a shared budget that has no unique nearest point.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum SharedError {
    /// The `L0` ball is not convex: its trade-off against another norm is not defined.
    L0,
    /// The exponent `q` is not a number in `[1, inf)`.
    Exponent(f64),
}

impl fmt::Display for SharedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::L0 => f.write_str(
                "an l0 budget cannot be shared with other modalities: use independent budgets",
            ),
            Self::Exponent(q) => write!(
                f,
                "a shared budget needs an exponent of at least 1, not {q}"
            ),
        }
    }
}

impl Error for SharedError {}

/// Returns `(Σ (distance_i/eps_i)^q)^(1/q)` over pairs of distance and `eps`; at most 1 is inside.
///
/// A distance of zero counts as zero even for `eps` 0; any other distance over `eps` 0 is infinite. NaN distances give
/// NaN.
pub fn shared_gauge(parts: impl IntoIterator<Item = (f64, f64)>, q: f64) -> f64 {
    let total: f64 = parts
        .into_iter()
        .map(|(distance, eps)| {
            if distance == 0.0 {
                0.0
            } else {
                (distance / eps).powf(q)
            }
        })
        .sum();
    total.powf(1.0 / q)
}

/// Projects all parts (in place, together) onto `{ (Σ (norm_i(x_i - x0_i)/eps_i)^q)^(1/q) <= 1 }` ∩ boxes.
///
/// The result has [`shared_gauge`] at most 1 over the parts' [`super::distance`]s. Parts with an `eps` of zero are
/// reset to `x0`. Otherwise the [module's contract](super) applies.
///
/// # Panics
/// When the four slices of a part differ in length.
pub fn project_shared(parts: &mut [Part<'_>], q: f64) -> Result<(), SharedError> {
    if q.is_nan() || q < 1.0 || q.is_infinite() {
        return Err(SharedError::Exponent(q));
    }
    if parts.iter().any(|p| p.norm == Norm::L0) {
        return Err(SharedError::L0);
    }
    let mut open = Vec::with_capacity(parts.len());
    for part in parts {
        let mut point = Point::new(part.x, part.x0, part.lower, part.upper);
        if part.eps.is_nan() || part.eps <= 0.0 {
            point.reset();
        } else {
            open.push(Share {
                norm: part.norm,
                point,
                eps: part.eps,
            });
        }
    }
    if gauge(&open, q, |s| ball(s.norm).clipped(&s.point)) <= 1.0 {
        for s in &mut open {
            s.point.clip();
        }
        return Ok(());
    }
    // A single part has the whole budget: exactly 1, where a search would stop one last bit short.
    let shares = if open.len() == 1 {
        vec![1.0]
    } else {
        shares(&open, q)
    };
    // The shares add up to one and each part is inside its own: the excess is at most a last bit of `powf`.
    let mut slack = 0.0;
    loop {
        for (s, share) in open.iter_mut().zip(&shares) {
            s.project(share * s.eps * (1.0 - slack));
        }
        if slack >= 1.0 || gauge(&open, q, |s| ball(s.norm).moved(&s.point)) <= 1.0 {
            return Ok(());
        }
        slack = (slack * 8.0_f64).clamp(1e-12, 1.0);
    }
}

/// A part that may move.
struct Share<'a> {
    norm: Norm,
    point: Point<'a>,
    eps: f64,
}

impl Share<'_> {
    fn project(&mut self, eps: f64) {
        let p = &mut self.point;
        super::project(self.norm, p.x, p.x0, p.lower, p.upper, eps);
    }
}

fn gauge<'a>(open: &[Share<'a>], q: f64, size: impl Fn(&Share<'a>) -> f64) -> f64 {
    shared_gauge(open.iter().map(|s| (size(s), s.eps)), q)
}

/// Returns the fraction of its own `eps` that each part gets.
fn shares(open: &[Share<'_>], q: f64) -> Vec<f64> {
    let offers: Vec<Offer> = open
        .iter()
        .map(|s| Offer {
            eps: s.eps,
            wanted: (ball(s.norm).clipped(&s.point) / s.eps).min(1.0),
            theta: Multiplier::new(s.norm, &s.point),
        })
        .collect();
    let at = |price: f64| -> Vec<f64> { offers.iter().map(|o| o.share(price, q)).collect() };
    let spent = |shares: &[f64]| shares.iter().map(|s| s.powf(q)).sum::<f64>();
    // Price each part at equal shares: at twice the highest price no part takes more, regardless of rounding.
    let equal = (offers.len() as f64).powf(-1.0 / q);
    let top = offers
        .iter()
        .fold(0.0_f64, |top, o| top.max(o.price(equal, q)))
        .max(f64::MIN_POSITIVE)
        * 2.0;
    // Below that price parts may saturate and take less than equal shares, so search for the lower end.
    let mut low = top / 8.0;
    while low > 0.0 && spent(&at(low)) < 1.0 {
        low /= 16.0;
    }
    // For large q, prices span many magnitudes: search their logarithm.
    let low = low.max(f64::MIN_POSITIVE);
    let over = |price: f64| {
        let over = spent(&at(price.exp())) - 1.0;
        if over.abs() < 1e-14 { 0.0 } else { over }
    };
    let (cheap, dear) = crossing(low.ln(), top.ln(), over);
    let (most, least) = (at(cheap.exp()), at(dear.exp()));
    // Where a share jumps with the price (to within f64 resolution), every value in between is optimal at that price.
    let between = |t: f64| -> Vec<f64> {
        least
            .iter()
            .zip(&most)
            .map(|(l, m)| l + t * (m - l))
            .collect()
    };
    between(crossing(0.0, 1.0, |t| 1.0 - spent(&between(t))).0)
}

/// Demand of one part for the shared budget.
struct Offer {
    eps: f64,
    /// Maximum share that the part can use.
    wanted: f64,
    theta: Multiplier,
}

impl Offer {
    /// Returns the `lambda` at which the part takes exactly `share`.
    fn price(&self, share: f64, q: f64) -> f64 {
        self.theta.at(share * self.eps) * self.eps / (q * share.powf(q - 1.0))
    }

    /// Returns the part's share when the multiplier of the budget is `price`.
    fn share(&self, price: f64, q: f64) -> f64 {
        let excess = |s: f64| self.theta.at(s * self.eps) * self.eps - price * q * s.powf(q - 1.0);
        if excess(self.wanted) > 0.0 {
            return self.wanted;
        }
        // At q = 1 the price of an infinitesimal share is not zero.
        if excess(0.0) <= 0.0 {
            return 0.0;
        }
        crossing(0.0, self.wanted, excess).0
    }
}

#[cfg(test)]
#[allow(clippy::float_cmp, reason = "hand-computed values are exact")]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::row::distance;
    use crate::row::reference::{self, Case};

    fn project(parts: &[(Norm, Case)], q: f64) -> Vec<Vec<f32>> {
        let mut xs: Vec<Vec<f32>> = parts.iter().map(|(_, c)| c.x.clone()).collect();
        let mut refs: Vec<Part<'_>> = parts
            .iter()
            .zip(&mut xs)
            .map(|((norm, c), x)| Part {
                norm: *norm,
                x,
                x0: &c.x0,
                lower: &c.lower,
                upper: &c.upper,
                eps: c.eps,
            })
            .collect();
        project_shared(&mut refs, q).unwrap();
        xs
    }

    fn gauge(parts: &[(Norm, Case)], xs: &[Vec<f32>], q: f64) -> f64 {
        shared_gauge(
            parts
                .iter()
                .zip(xs)
                .map(|((n, c), x)| (distance(*n, x, &c.x0), c.eps)),
            q,
        )
    }

    /// Makes an unbounded part around zero.
    fn free(norm: Norm, x: &[f32], eps: f64) -> (Norm, Case) {
        let n = x.len();
        (
            norm,
            Case {
                x: x.to_vec(),
                x0: vec![0.0; n],
                lower: vec![-99.0; n],
                upper: vec![99.0; n],
                eps,
            },
        )
    }

    /// Projects two parts; finds the split by ternary search (the objective is convex in the first share) and each part
    /// by long bisection.
    fn slow(parts: &[(Norm, Case); 2], q: f64) -> [Vec<f64>; 2] {
        let at = |s: f64| -> [Vec<f64>; 2] {
            let rest = (1.0 - s.powf(q)).max(0.0).powf(1.0 / q);
            let exact = |i: usize, s: f64| parts[i].1.exact_at(parts[i].0, s * parts[i].1.eps);
            [exact(0, s), exact(1, rest)]
        };
        let cost = |s: f64| -> f64 {
            let squared = |(d, (_, c)): (&Vec<f64>, &(Norm, Case))| -> f64 {
                d.iter()
                    .zip(&c.x)
                    .map(|(d, &x)| (d - f64::from(x)).powi(2))
                    .sum()
            };
            at(s).iter().zip(parts).map(squared).sum()
        };
        let (mut lo, mut hi) = (0.0, 1.0);
        for _ in 0..100 {
            let (a, b) = (lo + (hi - lo) / 3.0, hi - (hi - lo) / 3.0);
            if cost(a) <= cost(b) { hi = b } else { lo = a }
        }
        at(f64::midpoint(lo, hi))
    }

    #[test]
    fn two_l2_parts_of_equal_scale_form_one_ball() {
        let xs = project(
            &[
                free(Norm::L2, &[3.0], 0.5),
                free(Norm::L2, &[0.0, 4.0], 0.5),
            ],
            2.0,
        );
        reference::assert_near(&xs[0], &[0.3]);
        reference::assert_near(&xs[1], &[0.0, 0.4]);
    }

    #[test]
    fn two_l1_parts_of_equal_scale_form_one_ball_with_one_threshold() {
        let xs = project(
            &[
                free(Norm::L1, &[3.0, 1.0], 2.0),
                free(Norm::L1, &[-4.0], 2.0),
            ],
            1.0,
        );
        reference::assert_near(&xs[0], &[0.5, 0.0]);
        reference::assert_near(&xs[1], &[-1.5]);
    }

    #[test]
    fn the_scale_of_a_part_is_its_exchange_rate() {
        // Minimise (d-4)² + (e-4)² on |d|/1 + |e|/2 <= 1, all spent: e = 2 - 2d gives d = 0 (slope 2(d-4) + 4(2d+2) = 0).
        let xs = project(
            &[free(Norm::Linf, &[4.0], 1.0), free(Norm::Linf, &[4.0], 2.0)],
            1.0,
        );
        reference::assert_near(&xs[0], &[0.0]);
        reference::assert_near(&xs[1], &[2.0]);
        // A weaker pull on the second: d = 0.6 at pulls (2, 1.8): slope 2(d-2) + 4(2d-0.2) = 0 at d = 0.48.
        let xs = project(
            &[free(Norm::L2, &[2.0], 1.0), free(Norm::L1, &[1.8], 2.0)],
            1.0,
        );
        reference::assert_near(&xs[0], &[0.48]);
        reference::assert_near(&xs[1], &[1.04]);
    }

    /// Compares with the slow reference, to 1e-5.
    fn check_slow(parts: &[(Norm, Case); 2], q: f64) {
        for (x, want) in project(parts, q).iter().zip(slow(parts, q)) {
            for (x, want) in x.iter().zip(want) {
                assert!(
                    (f64::from(*x) - want).abs() <= 1e-5 * (1.0 + want.abs()),
                    "{x}, not {want}"
                );
            }
        }
    }

    fn boxed(norm: Norm, features: &[(f32, f32, f32)], eps: f64) -> (Norm, Case) {
        let of = |f: fn(&(f32, f32, f32)) -> f32| features.iter().map(f).collect::<Vec<f32>>();
        (
            norm,
            Case {
                x: of(|f| f.0),
                x0: vec![0.0; features.len()],
                lower: of(|f| f.1),
                upper: of(|f| f.2),
                eps,
            },
        )
    }

    #[test]
    fn a_share_that_jumps_with_the_price_is_blended() {
        // At eps 1e-40 no f64 price separates a zero share from a full one; the other part must not pay for that.
        let other = boxed(
            Norm::Linf,
            &[(1.725_762_4, 0.0, 0.391_327_47)],
            0.933_835_658_502_882_5,
        );
        let parts = [
            boxed(Norm::Linf, &[(0.756_915_4, 0.0, 0.825_244_4)], 1e-40),
            other,
        ];
        check_slow(&parts, 1.0);
        let size = gauge(&parts, &project(&parts, 1.0), 1.0);
        assert!(size > 0.999, "nothing is left unspent: {size}");
        // The same at the highest price, whose logarithm does not round back to itself.
        let other = boxed(
            Norm::L2,
            &[(0.577_870_8, 0.0, 0.705_98)],
            2.434_872_453_593_954,
        );
        for x in [0.5, 0.7, 0.3, 0.023_112_286] {
            check_slow(
                &[
                    boxed(Norm::Linf, &[(x, 0.0, 0.856_086_3)], 1e-40),
                    other.clone(),
                ],
                1.0,
            );
        }
    }

    #[test]
    fn a_tiny_free_pull_does_not_set_the_price() {
        // The denormal is still free when the other feature is full: r² - c² is rounding error, and mu would be too.
        let whole = boxed(
            Norm::L2,
            &[(-0.849_092, -0.795_364_1, 0.0), (1e-45, -1.0, 1.0)],
            2.398_684_774_730_177,
        );
        check_slow(
            &[
                boxed(
                    Norm::Linf,
                    &[(-4.011_574_3, -3.223_180_8, 0.0)],
                    2.132_412_073_755_586,
                ),
                whole,
            ],
            1.0,
        );
    }

    #[test]
    fn degenerate_parts() {
        // A part without budget returns to its origin and the other gets everything; without parts there is nothing to
        // do.
        let parts = [
            free(Norm::L2, &[1.0, 1.0], 0.0),
            free(Norm::Linf, &[1.0, -2.0], 0.25),
        ];
        assert_eq!(project(&parts, 2.0), [vec![0.0, 0.0], vec![0.25, -0.25]]);
        assert_eq!(project(&[], 2.0), Vec::<Vec<f32>>::new());
        assert_eq!(
            project(&[free(Norm::L1, &[], 1.0)], 1.0),
            [Vec::<f32>::new()]
        );
        // A single part gets its plain projection.
        assert_eq!(
            project(&[free(Norm::L1, &[3.0, -4.0], 2.0)], 3.0),
            [[0.5, -1.5]]
        );
        // NaN stays NaN; infinity is read as far away.
        let parts = [
            free(Norm::L2, &[f32::NAN, 3.0], 1.0),
            free(Norm::L2, &[f32::NEG_INFINITY], 1.0),
        ];
        let xs = project(&parts, 2.0);
        assert!(xs[0][0].is_nan() && xs[1][0] < -0.999, "{xs:?}");
    }

    #[test]
    fn refusals() {
        let parts = |q: f64, norm: Norm| {
            let mut x = [1.0];
            project_shared(
                &mut [Part {
                    norm,
                    x: &mut x,
                    x0: &[0.0],
                    lower: &[0.0],
                    upper: &[1.0],
                    eps: 1.0,
                }],
                q,
            )
        };
        assert_eq!(parts(2.0, Norm::L0), Err(SharedError::L0));
        for q in [0.5, -1.0, f64::INFINITY, f64::NAN] {
            assert!(
                matches!(parts(q, Norm::L2), Err(SharedError::Exponent(_))),
                "{q}"
            );
        }
        assert!(parts(1.0, Norm::L2).is_ok());
    }

    #[test]
    fn shared_gauge_with_zero_budgets() {
        assert_eq!(
            shared_gauge([(0.0, 0.0), (3.0, 5.0), (4.0, 5.0)], 2.0).to_bits(),
            1.0_f64.to_bits()
        );
        assert!(shared_gauge([(1e-9, 0.0)], 2.0).is_infinite());
        assert!(shared_gauge([(f64::NAN, 1.0)], 2.0).is_nan());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn laws(
            cases in [reference::case(), reference::case()],
            norms in prop::sample::select(vec![
                [Norm::Linf, Norm::Linf], [Norm::Linf, Norm::L2], [Norm::L2, Norm::L2],
                [Norm::L2, Norm::L1], [Norm::L1, Norm::L1], [Norm::L1, Norm::Linf],
            ]),
            q in prop::sample::select(vec![1.0, 1.5, 2.0, 7.0, 40.0]),
        ) {
            let [a, b] = cases;
            let parts = [(norms[0], a), (norms[1], b)];
            let xs = project(&parts, q);
            let size = gauge(&parts, &xs, q);
            prop_assert!(size <= 1.0, "{size}");
            let again: Vec<(Norm, Case)> = parts.iter().zip(&xs)
                .map(|((n, c), x)| (*n, Case { x: x.clone(), ..c.clone() })).collect();
            prop_assert_eq!(&project(&again, q), &xs);
            let slow = slow(&parts, q);
            for ((x, want), (_, c)) in xs.iter().zip(&slow).zip(&parts) {
                reference::check_box(x, &c.lower, &c.upper)?;
                for ((x, want), x0) in x.iter().zip(want).zip(&c.x0) {
                    let scale = 1.0 + want.abs().max(f64::from(x0.abs()));
                    prop_assert!((f64::from(*x) - want).abs() <= 1e-5 * scale, "{xs:?}, not {slow:?}");
                }
            }
        }
    }
}
